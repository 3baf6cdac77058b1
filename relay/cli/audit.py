"""`relay audit`: what operators changed, who, when and why."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.operator import cli_principal
from relay.cli.output import View, print_json, print_table, say
from relay.config.load import load_settings
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.audit import export
from relay.services.context import open_context

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.audit import AuditRecord

app = commands()
FILTERS = ("reason", "since", "until")


@command(app, filters=FILTERS, examples=("relay audit --since 7d", "relay audit --reason deploy --json"))
def audit(
    *,
    which: EventFilter,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Show this many at most.")] = 50,
    view: View,
) -> None:
    """Show what operators changed with the command line: who, when and why; newest first."""
    found = run(_read(load_settings(), which, limit))
    if view.json:
        print_json([_summary(record) for record in found])
    elif found:
        limited = f" (limited to {limit})" if len(found) == limit else ""
        columns = ("time", "who", "command", "target", "count", "why")
        rows = [(view.time(each.at_ms), each.who, each.command, each.target, each.count, each.why) for each in found]
        print_table(f"Changes, newest first{limited}", columns, rows, view)
    else:
        say("Nothing found.")


def _summary(record: AuditRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "recorded_at": record.at_ms,
        "who": record.who,
        "command": record.command,
        "target": record.target,
        "count": record.count,
        "why": record.why,
    }


async def _read(settings: Settings, which: EventFilter, limit: int) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    async with open_context(settings) as context, aclosing(export(context, cli_principal(), which)) as newest_first:
        async for record in newest_first:
            found.append(record)
            if len(found) == limit:
                break
    return found
