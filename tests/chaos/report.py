"""The table of a run: a row for each kind of fault, and the sums."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from relay.cli.output import print_table
from tests.chaos.linq import ACCEPTED
from tests.chaos.records import DELETE_LANE_GROUPS
from tests.chaos.verdict import exact, judge, lost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.records import Happened, Records, Repeat
    from tests.chaos.timeline import Timeline

_NO_FAULT = "(none)"

console = Console()


@dataclass(slots=True)
class Row:
    """What there was of one kind of fault. Counts are of while it lasted, recoveries in seconds after its end."""

    fault: str
    times: int = 0
    seconds: float = 0.0
    sent: int = 0
    busy: int = 0
    """Answers 503."""
    unanswered: int = 0
    accepted: int = 0
    accepts_after: float = 0.0
    """The longest time from the end of such a fault to the next 2xx for Linq."""
    delivers_after: float = 0.0
    """The longest time to the next event for the good team."""
    repeats: int = 0
    """Further pushes of events whose first push was during it, or nearer to it than to any other fault."""


def rows_of(records: Records) -> list[Row]:
    """A row for each kind, and one for the time before any fault if something was repeated then."""
    rows: dict[str, Row] = {}
    for one in records.happened:
        _add(rows.setdefault(one.kind, Row(one.kind)), one, records)
    for fault, count in _repeats_by_fault(records).items():
        rows.setdefault(fault, Row(fault)).repeats += count
    return [rows[fault] for fault in sorted(rows)]


def totals_of(records: Records) -> dict[str, Any]:
    """The sums of a run."""
    pushes, repeats, owed = records.pushes, records.repeats, records.owed_repeats
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
        "repeats_of_deleted_groups": owed,
        "dead_letters": sum(len(team.dead) for team in records.teams.values()),
        "ledger_balances": bool(records.ledger.get("balances")),
    }


def as_json(seed: int, records: Records) -> dict[str, Any]:
    """Everything, for machines."""
    return {
        "seed": seed,
        "kept": all(promise.is_kept for promise in judge(records)),
        "totals": totals_of(records),
        "faults": [asdict(row) for row in rows_of(records)],
        "promises": [{"promise": promise.text, "broken": promise.broken} for promise in judge(records)],
        "ledger": records.ledger,
    }


def show(seed: int, records: Records) -> None:
    """Prints it for a person."""
    columns = ("fault", "times", "s", "sent", "503", "no answer", "accepted", "2xx after s", "push after s", "repeats")
    print_table(f"Chaos, seed {seed}", columns, [_cells(row) for row in rows_of(records)])
    totals = totals_of(records)
    totals["repeats_share"] = f"{totals['repeats_share']:.3%}"
    print_table("In all", ("what", ""), [(what.replace("_", " "), str(value)) for what, value in totals.items()])
    for promise in judge(records):
        console.print(f"[green]kept[/]    {promise.text}" if promise.is_kept else f"[red]BROKEN[/]  {promise.text}")
        for broken in promise.broken:
            console.print(f"        {broken}", markup=False)


def _cells(row: Row) -> Sequence[object]:
    return [f"{value:.1f}" if isinstance(value, float) else value for value in asdict(row).values()]


def _add(row: Row, one: Happened, records: Records) -> None:
    linq, during = records.linq, (one.began, one.ended)
    row.times += 1
    row.seconds += one.ended - one.began
    row.sent += linq.count("sent", *during)
    row.busy += linq.count("answered 503", *during)
    row.unanswered += linq.count("unanswered", *during)
    row.accepted += linq.count("accepted", *during)
    row.accepts_after = max(row.accepts_after, _after(linq, "accepted", one.ended))
    row.delivers_after = max(row.delivers_after, _after(records.teams["good"].timeline, "got", one.ended))


def _after(timeline: Timeline, what: str, moment: float) -> float:
    """Seconds until the next one; none if there was no other, because the traffic had ended."""
    return timeline.first_after(what, moment) or 0.0


def _repeats_by_fault(records: Records) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, team in records.teams.items():
        found.update(_cause(records, name, repeat) for repeat in team.repeats)
    return found


def _cause(records: Records, team: str, repeat: Repeat) -> str:
    """The kind of fault that a repeat is put down to."""
    if records.is_owed(team, repeat):
        return DELETE_LANE_GROUPS
    before = [one for one in records.happened if one.began < repeat.again]
    return min(before, key=lambda one: one.distance(repeat.first)).kind if before else _NO_FAULT
