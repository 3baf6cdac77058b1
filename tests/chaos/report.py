"""Table of a run: a row for each kind of fault, and totals."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from relay.cli.output import print_table
from tests.chaos.linq import ACCEPTED
from tests.chaos.verdict import exact, judge, lost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.records import FaultRecord, Records, Repeat
    from tests.chaos.timeline import Timeline

_NO_FAULT = "(none)"

console = Console()


@dataclass(slots=True)
class Row:
    """Totals of one kind of fault: counts while such faults lasted, recovery times in seconds after their end."""

    fault: str
    times: int = 0
    seconds: float = 0.0
    sent: int = 0
    busy: int = 0
    """Responses of 503."""
    unanswered: int = 0
    accepted: int = 0
    accepts_after: float = 0.0
    """Longest time from the end of such a fault to the next 2xx for Linq."""
    delivers_after: float = 0.0
    """Longest time to the next event for the good team."""
    repeats: int = 0
    """Repeated pushes of events with a first push during it, or nearer to it than to any other fault."""
    of_losses: int = 0
    """The repeats among them that lost settlements explain."""
    moved: int = 0
    """Number of such faults at whose end another server was the primary."""


def rows_of(records: Records) -> list[Row]:
    """Return a row for each kind, and one for the time before any fault if there were repeats then."""
    rows: dict[str, Row] = {}
    for fault in records.faults:
        _add(rows.setdefault(fault.kind, Row(fault.kind)), fault, records)
    for (kind, is_of_loss), count in _repeats_by_cause(records).items():
        row = rows.setdefault(kind, Row(kind))
        row.repeats += count
        row.of_losses += count if is_of_loss else 0
    return [rows[kind] for kind in sorted(rows)]


def totals_of(records: Records) -> dict[str, Any]:
    """Return the totals of a run."""
    pushes, repeats, owed = records.pushes, records.repeats, records.repeats_of_losses
    return {
        "events": len(records.states),
        "accepted": records.states.count(ACCEPTED),
        "lost": lost(records),
        "exactly_once_in_topics": exact(records),
        "answered_503": records.linq.total("answered 503"),
        "unanswered": records.linq.total("unanswered"),
        "pushes": pushes,
        "repeats": repeats - owed,
        "repeats_share": round((repeats - owed) / pushes, 6) if pushes else 0.0,
        "repeats_of_losses": owed,
        "prompt_pushes": records.prompt_pushes,
        "prompt_repeats": records.prompt_repeats,
        "dead_letters": sum(len(team.dead) for team in records.teams.values()),
        "ledger_balances": bool(records.ledger.get("balances")),
    }


def as_json(seed: int, records: Records) -> dict[str, Any]:
    """Return everything, for machines."""
    return {
        "seed": seed,
        "kept": all(promise.is_kept for promise in judge(records)),
        "totals": totals_of(records),
        "faults": [asdict(row) for row in rows_of(records)],
        "promises": [{"promise": promise.text, "broken": promise.broken} for promise in judge(records)],
        "ledger": records.ledger,
    }


def show(seed: int, records: Records) -> None:
    """Print the result for people."""
    columns = (
        "fault",
        "times",
        "s",
        "sent",
        "503",
        "no response",
        "accepted",
        "2xx after s",
        "push after s",
        "repeats",
        "of losses",
        "primary moved",
    )
    print_table(f"Chaos, seed {seed}", columns, [_cells(row) for row in rows_of(records)])
    totals = totals_of(records)
    totals["repeats_share"] = f"{totals['repeats_share']:.3%}"
    print_table("Total", ("what", ""), [(what.replace("_", " "), str(value)) for what, value in totals.items()])
    for promise in judge(records):
        console.print(f"[green]kept[/]    {promise.text}" if promise.is_kept else f"[red]BROKEN[/]  {promise.text}")
        for broken in promise.broken:
            console.print(f"        {broken}", markup=False)


def _cells(row: Row) -> Sequence[object]:
    return [f"{value:.1f}" if isinstance(value, float) else value for value in asdict(row).values()]


def _add(row: Row, fault: FaultRecord, records: Records) -> None:
    linq, during = records.linq, (fault.began, fault.ended)
    row.times += 1
    row.moved += bool(fault.moved)
    row.seconds += fault.ended - fault.began
    row.sent += linq.count("sent", *during)
    row.busy += linq.count("answered 503", *during)
    row.unanswered += linq.count("unanswered", *during)
    row.accepted += linq.count("accepted", *during)
    row.accepts_after = max(row.accepts_after, _after(linq, "accepted", fault.ended))
    row.delivers_after = max(row.delivers_after, _after(records.teams["good"].timeline, "got", fault.ended))


def _after(timeline: Timeline, what: str, moment: float) -> float:
    """Return the seconds until the next occurrence; 0 if there is none, because the traffic had ended."""
    return timeline.first_after(what, moment) or 0.0


def _repeats_by_cause(records: Records) -> Counter[tuple[str, bool]]:
    """Count the repeats by the kind of their fault, and by whether it lost their settlement."""
    found: Counter[tuple[str, bool]] = Counter()
    for name, team in records.teams.items():
        found.update(_cause(records, name, repeat) for repeat in team.repeats)
    return found


def _cause(records: Records, team: str, repeat: Repeat) -> tuple[str, bool]:
    """Return the kind of fault that a repeat is attributed to, and True if it lost the settlement."""
    if loss := records.loss_before(team, repeat):
        return loss.kind, True
    before = [fault for fault in records.faults if fault.began < repeat.again]
    return min(before, key=lambda fault: fault.distance(repeat.first)).kind if before else _NO_FAULT, False
