"""`relay audit`: what operators and teams changed, who, from where, when and why."""

from __future__ import annotations

import json
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.operator import cli_principal
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.load import load_settings
from relay.core.errors import RelayError
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.account.audit import export
from relay.services.context import open_context

if TYPE_CHECKING:
    from typing import TextIO

    from relay.config.settings import Settings
    from relay.store.audit import AuditRecord

app = commands()
FILTERS = ("reason", "since", "until")
_STANDARD_OUTPUT = "-"


@command(
    app,
    filters=FILTERS,
    examples=(
        "relay audit --since 7d",
        "relay audit --team crm --reason deploy --json",
        "relay audit --export audit.jsonl",
    ),
)
def audit(
    *,
    which: EventFilter,
    who: Annotated[str | None, typer.Option(metavar="TEXT", help="Only authors whose name contains this text.")] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Only what this team ordered.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Show at most this many.")] = 50,
    to: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write every record to a new file, or - for standard output, as JSON lines.",
        ),
    ] = None,
    view: View,
) -> None:
    """Show what operators and teams changed: who, from where, when and why; newest first."""
    if to is not None:
        count = run(_export(load_settings(), which, who, team, to))
        if to != _STANDARD_OUTPUT:
            say(f"{to} is written, with {counted(count, 'record')}.")
        return
    found = run(_read(load_settings(), which, who, team, limit))
    if view.json:
        print_json([_summary(record) for record in found])
    elif found:
        limited = f" (limited to {limit})" if len(found) == limit else ""
        columns = ("time", "who", "from", "team", "command", "target", "count", "why")
        print_table(f"Changes, newest first{limited}", columns, [_cells(record, view) for record in found], view)
    else:
        say("Nothing found.")


def _cells(record: AuditRecord, view: View) -> tuple[object, ...]:
    author = (record.who, record.source, record.team)
    return view.time(record.at_ms), *author, record.command, record.target, record.count, record.why


def _summary(record: AuditRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "recorded_at": record.at_ms,
        "who": record.who,
        "from": record.source,
        "team": record.team,
        "command": record.command,
        "target": record.target,
        "count": record.count,
        "why": record.why,
    }


async def _read(
    settings: Settings, which: EventFilter, who: str | None, team: str | None, limit: int
) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    async with (
        open_context(settings) as context,
        aclosing(export(context, cli_principal(), which, who=who, team=team)) as newest_first,
    ):
        async for record in newest_first:
            found.append(record)
            if len(found) == limit:
                break
    return found


async def _export(settings: Settings, which: EventFilter, who: str | None, team: str | None, to: str) -> int:
    """Write the records to a file that does not exist yet and that only its owner can read; return their number."""
    if to == _STANDARD_OUTPUT:
        return await _write(settings, which, who, team, sys.stdout)
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RelayError(f"{to} exists already; name another file") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        return await _write(settings, which, who, team, file)


async def _write(settings: Settings, which: EventFilter, who: str | None, team: str | None, file: TextIO) -> int:
    count = 0
    async with (
        open_context(settings) as context,
        aclosing(export(context, cli_principal(), which, who=who, team=team)) as newest_first,
    ):
        async for record in newest_first:
            file.write(json.dumps(_summary(record)) + "\n")
            count += 1
    return count
