"""`relay quarantine`: webhooks with a valid signature that could not be parsed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from relay.cli.command import command, commands
from relay.cli.filters import AllOption, DryRunOption, check_choice
from relay.cli.operator import WhyArgument, WhyOption, cli_principal
from relay.cli.output import View, changed_or_would_be, counted, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.operators import quarantine
from relay.services.topics.history.view import shown_body

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.services.operators.quarantine import Retried
    from relay.store.inbox.quarantine import QuarantinedBody

app = commands(
    "List, show, retry and drop webhooks with a valid signature that could not be parsed.",
    examples=("relay quarantine list", "relay quarantine retry --all"),
)
FILTERS = ("event_id", "line", "reason", "since", "until")
_CHOICES = ("--id", "--line", "--reason", "--since", "--until")


@command(app, "list", filters=FILTERS, examples=("relay quarantine list", "relay quarantine list --since 24h --json"))
def list_(*, which: EventFilter, view: View) -> None:
    """List quarantined webhooks, oldest first."""
    found = run(_read(load_settings(), which))
    if view.json:
        print_json([_summary(body) for body in found])
        return
    columns = ("id", "api", "line", "received", "bytes", "reason")
    rows = [(body.entry, body.dialect, body.line, view.time(body.at), len(body.body), body.reason) for body in found]
    print_table(f"Quarantined webhooks: {len(rows)}", columns, rows, view)


@command(
    app,
    filters=FILTERS,
    examples=("relay quarantine show --id 1789377302417-0", "relay quarantine show --reason 'not JSON'"),
)
def show(*, which: EventFilter, view: View) -> None:
    """Show quarantined webhooks in full; exit code 1 if there are none."""
    settings = load_settings()
    found = run(_read(settings, which))
    if view.json:
        print_json([{**_summary(body), "body": str(shown_body(settings, body.body))} for body in found])
    elif not found:
        say("Nothing found.")
    else:
        for body in found:
            print_fields(f"Quarantined webhook {body.entry}", _summary(body), view)
            say(str(shown_body(settings, body.body)))
    if not found:
        raise typer.Exit(1)


@command(
    app,
    filters=FILTERS,
    examples=("relay quarantine retry --all --dry-run", "relay quarantine retry --reason event_id"),
    view=("json",),
)
def retry(
    *,
    which: EventFilter,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    why: WhyOption = "",
    view: View,
) -> None:
    """Parse quarantined webhooks again, for example after an upgrade.

    Webhooks that can be parsed now are accepted as events. Exit code 1 if --id is given and that one cannot be parsed.
    """
    check_choice(which, _CHOICES, every=every)
    result = run(_retry(load_settings(), which, why, dry_run=dry_run))
    accepted, repeats, unreadable = result.accepted, result.repeats, result.unreadable
    if view.json and dry_run:
        print_json(changed_or_would_be("accept", accepted, dry_run=True) | {"unreadable": unreadable})
    elif view.json:
        print_json(asdict(result))
    elif dry_run:
        say(f"{accepted} can be parsed, {unreadable} still unreadable")
    else:
        say(f"{accepted} accepted, {counted(repeats, 'duplicate')}, {unreadable} still unreadable")
    if which.event_ids and not accepted + repeats:
        raise typer.Exit(1)


@command(
    app,
    filters=FILTERS,
    examples=("relay quarantine drop 'load test' --until 2h", "relay quarantine drop 'not ours' --all --dry-run"),
    view=("json",),
)
def drop(
    why: WhyArgument,
    *,
    which: EventFilter,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    view: View,
) -> None:
    """Delete quarantined webhooks; the ledger keeps their number.

    Exit code 1 if --id is given and nothing has it.
    """
    check_choice(which, _CHOICES, every=every)
    dropped = run(_drop(load_settings(), which, why, dry_run=dry_run))
    if view.json:
        print_json(changed_or_would_be("drop", dropped, dry_run=dry_run))
    else:
        say(f"{dropped} {'would be dropped' if dry_run else 'dropped'}")
    if which.event_ids and not dropped:
        raise typer.Exit(1)


async def _read(settings: Settings, which: EventFilter) -> list[QuarantinedBody]:
    async with open_context(settings) as context:
        return [body async for body in quarantine.every(context, cli_principal(), which)]


async def _retry(settings: Settings, which: EventFilter, why: str, *, dry_run: bool) -> Retried:
    async with open_context(settings) as context:
        return await quarantine.retry(context, cli_principal(), which, why, dry_run=dry_run)


async def _drop(settings: Settings, which: EventFilter, why: str, *, dry_run: bool) -> int:
    async with open_context(settings) as context:
        return await quarantine.drop(context, cli_principal(), which, why, dry_run=dry_run)


def _summary(body: QuarantinedBody) -> dict[str, Any]:
    return {
        "id": body.entry,
        "api": body.dialect,
        "line": body.line,
        "received_at": body.at,
        "bytes": len(body.body),
        "reason": body.reason,
    }
