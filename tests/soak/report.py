"""Table of a soak: a row for each group, and the promises."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console

from relay.cli.output import print_table
from tests.soak.verdict import done_of, judge, missing_of, repeats_of, waits_of

if TYPE_CHECKING:
    from tests.soak.records import GroupRecord, Records

console = Console()


def row_of(records: Records, group: GroupRecord) -> dict[str, Any]:
    """Return the totals of a group."""
    waits = [(wait, kind) for wait, _, kind in waits_of(records, group)]
    lags = [begun.at - records.routed[begun.number][0] / 1000 for begun in group.begun if begun.deliveries == 1]
    repeats = list(repeats_of(records, group))
    return {
        "group": group.language,
        "processed": len(done_of(group)),
        "dead": len(group.dead),
        "trimmed": len(missing_of(records, group) & group.trimmed),
        "told": group.told["missed"] + group.told["trimmed"],
        "uncountable": len(missing_of(records, group) & group.uncountable),
        "lost": len(missing_of(records, group) - group.trimmed),
        "kills": group.kills,
        "stops": group.stops,
        "crashes": sum(release.kind == "kill" for release in group.releases) - group.kills,
        "deleted": len(group.deletions),
        "in_hand": sum(len(release.numbers) for release in group.releases if release.kind == "kill"),
        "repeats": len(repeats),
        "unexplained": sum(not is_explained for _, is_explained in repeats),
        "median_ms": round(1000 * median(wait for wait, _ in waits), 1) if waits else 0.0,
        "median_lag_ms": round(1000 * median(lags), 1) if lags else 0.0,
        "longest_lag_s": round(max(lags, default=0.0), 2),
        **{
            f"longest_{kind}_s": round(max((wait for wait, what in waits if what == kind), default=0.0), 2)
            for kind in ("routed", "kill", "stop", "fail", "delete")
        },
    }


def as_json(seed: int, records: Records) -> dict[str, Any]:
    """Return everything, for machines."""
    promises = judge(records)
    return {
        "seed": seed,
        "kept": all(promise.is_kept for promise in promises),
        "events": records.accepted,
        "removed": records.removed,
        "seconds": round(records.seconds, 1),
        "groups": [row_of(records, group) for group in records.groups.values()],
        "promises": [{"promise": promise.text, "broken": promise.broken} for promise in promises],
    }


def show(seed: int, records: Records) -> None:
    """Print the result for people: the groups side by side."""
    rows = [row_of(records, group) for group in records.groups.values()]
    cells = [(what.replace("_", " "), *(row[what] for row in rows)) for what in rows[0] if what != "group"]
    print_table(f"Soak, seed {seed}", ("", *(row["group"] for row in rows)), cells)
    console.print(f"{records.accepted} events, {records.removed} entries trimmed, {records.seconds:.0f} s")
    for promise in judge(records):
        console.print(f"[green]kept[/]    {promise.text}" if promise.is_kept else f"[red]BROKEN[/]  {promise.text}")
        for broken in promise.broken:
            console.print(f"        {broken}", markup=False)
