"""`relay ledger`: where every event is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from relay.cli.command import command, commands
from relay.cli.operator import cli_principal
from relay.cli.output import View, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.operators.ledger import Books, read

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.ledger.ledger import LaneLedger

app = commands()

_REPLAYS = {
    "replayed": "dead letters that were sent again (counted in routed already)",
    "history": "events that relay replay sent again, in addition to the routed ones",
}
_RARE = ("shadow_of", "filtered", "dropped", "discarded", "repeated", "lost", *_REPLAYS)
"""Columns that are shown if one of their numbers is not 0."""

_LABELS = {
    "duplicate": "duplicates",
    "unmatched": "matched no topic",
    "inbox": "not routed yet",
    "poisoned": "quarantined when routed",
    "quarantine_dropped": "dropped from quarantine",
    "lost": "deleted before routing",
}


@command(app, examples=("relay ledger", "relay ledger --json"), view=("wide", "json"))
def ledger(*, view: View) -> None:
    """Show where every event is, and whether the numbers balance; exit code 1 if they do not."""
    books = run(_read(load_settings()))
    if view.json:
        print_json(
            {
                "balances": books.balances,
                "totals": asdict(books.totals),
                "unmatched": books.unmatched,
                "refused": books.refused,
                "subscriptions": [{**asdict(lane), "balances": lane.balances} for lane in books.subscriptions],
            }
        )
    else:
        _print(books, view)
    if not books.balances:
        raise typer.Exit(1)


def _print(books: Books, view: View) -> None:
    """Print the ledger for people."""
    lanes = books.subscriptions
    print_fields("All webhooks", asdict(books.totals), view, _LABELS)
    if books.unmatched:
        print_table("Events that matched no topic", ("type", "events"), books.unmatched.items(), view)
    if books.refused:
        print_table("Requests that the ingress refused", ("code", "requests"), books.refused.items(), view)
    counts = [{**asdict(lane), **_replays(lane)} for lane in lanes]
    columns = ["subscription", "routed", "delivered", "waiting", "retrying", "dead"]
    columns += [name for name in _RARE if any(row[name] for row in counts)]
    rows = [
        (*(row[name] for name in columns), "yes" if lane.balances else "NO")
        for row, lane in zip(counts, lanes, strict=True)
    ]
    titles = (name.replace("_", " ") for name in columns)
    print_table("Subscriptions", (*titles, "balances"), rows, view)
    for name, meaning in _REPLAYS.items():
        if name in columns:
            say(f"{name}: {meaning}")
    if books.balances:
        say("The ledger balances.", fg="green")
    else:
        say("The ledger does not balance.", fg="red")


def _replays(lane: LaneLedger) -> dict[str, int]:
    """Return the columns of `_REPLAYS`."""
    return {"replayed": lane.replayed - lane.from_history, "history": lane.from_history}


async def _read(settings: Settings) -> Books:
    async with open_context(settings) as context:
        return await read(context, cli_principal(), is_exact=True)
