"""`relay ledger`: where every event is."""

from __future__ import annotations

from dataclasses import asdict

import typer

from relay.cli.output import JsonOption, console, print_json, print_table
from relay.config.settings import Settings
from relay.store.lanes.ledger import LaneLedger, Totals


def ledger(*, json: JsonOption = False) -> None:
    """Show where every event is, and whether the numbers balance (exit code 1 if not)."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    totals, unmatched, lanes = run(_read(load_settings()))
    balances = totals.balances and all(lane.balances for lane in lanes)
    if json:
        print_json(
            {
                "balances": balances,
                "totals": asdict(totals),
                "unmatched": unmatched,
                "subscriptions": [{**asdict(lane), "balances": lane.balances} for lane in lanes],
            }
        )
    else:
        print_ledger(totals, unmatched, lanes)
    if not balances:
        raise typer.Exit(1)


def print_ledger(totals: Totals, unmatched: dict[str, int], lanes: list[LaneLedger]) -> None:
    """Prints the ledger for a person."""
    print_table("All webhooks", tuple(asdict(totals)), [tuple(asdict(totals).values())])
    if unmatched:
        print_table("Events that no topic wanted", ("type", "events"), unmatched.items())
    columns = ["subscription", "routed", "delivered", "waiting", "retrying", "dead", "replayed"]
    columns += [
        name
        for name in ("from_history", "filtered", "dropped", "repeated", "lost")
        if any(getattr(lane, name) for lane in lanes)
    ]
    rows = [(*(getattr(lane, name) for name in columns), "yes" if lane.balances else "NO") for lane in lanes]
    print_table("Subscriptions", (*columns, "balances"), rows)
    good = totals.balances and all(lane.balances for lane in lanes)
    console.print("[green]The ledger balances.[/]" if good else "[red]The ledger does not balance.[/]")


async def _read(settings: Settings) -> tuple[Totals, dict[str, int], list[LaneLedger]]:
    from relay.parts import open_store
    from relay.store.lanes.ledger import Ledger

    async with open_store(settings) as redis:
        ledger = Ledger(redis)
        return await ledger.totals(), await ledger.unmatched(), await ledger.lanes()
