"""`relay events`: searches in what the topics hold."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.event_view import event_summary
from relay.cli.operator import cli_principal
from relay.cli.output import View, counted, print_json, print_table, say
from relay.cli.remote import calls
from relay.cli.remote.access import Access, Via
from relay.cli.search_progress import SecondsOption, search_progress
from relay.config.load import load_settings
from relay.core.errors import Invalid
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.events import EventQuery, FoundEvents
from relay.services.topics.events import search as search_events

HandleOption = Annotated[
    str | None,
    typer.Option(
        "--handle", metavar="HANDLE", help="Only events of a person with this phone number or e-mail address."
    ),
]

app = commands(
    "Search events by handle, chat, message, line, type and time.",
    examples=(
        "relay events search --handle +13035550188 --since 2h",
        "relay events search --chat 7d0c2a4e-5b1f-4c3d-9e8f-102030405060",
    ),
)


def query_of(which: EventFilter, handle: str | None, topic: str | None = None) -> EventQuery:
    """Return the query that the options describe."""
    return EventQuery(
        handle=handle,
        chat=which.chat,
        message=which.message,
        line=which.line,
        event_type=which.event_type,
        topic=topic,
        since_ms=which.since_ms,
        until_ms=which.until_ms,
    )


def named_problem(error: Invalid) -> typer.BadParameter:
    """Return the error of the command line for the first mistake of a query: its fields are named like the options."""
    problem = error.problems[0]
    return typer.BadParameter(problem.message, param_hint=f"--{problem.place}")


@command(
    app,
    filters=("event_type", "line", "chat", "message", "since", "until"),
    examples=(
        "relay events search --handle +13035550188",
        "relay events search --handle ann@example.com --type 'message.*' --since 2d --json",
    ),
)
def search(
    *,
    handle: HandleOption = None,
    topic: Annotated[str | None, typer.Option("--topic", metavar="NAME", help="Only this topic.")] = None,
    which: EventFilter,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Show at most this many.")] = 50,
    seconds: SecondsOption = 10.0,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Continue a search, by the cursor that it printed.")
    ] = None,
    via: Via,
    view: View,
) -> None:
    """Search the events that topics hold, newest first.

    The topics are read until enough is found, the time is over, or everything has been searched; the last line says how
    far back it searched.
    """
    found = run(_search(via.remote(), query_of(which, handle, topic), cursor, limit, seconds, view))
    if view.json:
        print_json(
            {
                "events": [event_summary(event) for event in found.events],
                "cursor": found.cursor,
                "searched_to_at": found.searched_to_ms,
                "searched": found.entries,
            }
        )
        return
    rows = [
        (
            view.time(event.places[0].at_ms if event.places else event.at_ms),
            event.id,
            event.type,
            event.line,
            event.chat,
            event.message,
            " ".join(place.topic for place in event.places),
        )
        for event in found.events
    ]
    print_table("Events, newest first", ("routed", "id", "type", "line", "chat", "message", "topics"), rows, view)
    if found.cursor is None:
        say(f"All {counted(found.entries, 'event')} of the period were searched.")
    else:
        say(f"Everything since {view.time(found.searched_to_ms)} was searched; continue with --cursor {found.cursor}")


async def _search(
    access: Access | None, query: EventQuery, cursor: str | None, limit: int, seconds: float, view: View
) -> FoundEvents:
    if access is not None:
        with search_progress(view) as progress:
            return await calls.search(access, query, cursor, limit, seconds or None, progress)
    async with open_context(load_settings()) as context:
        with search_progress(view) as progress:
            try:
                return await search_events(
                    context, cli_principal(), query, cursor, limit, seconds=seconds or None, progress=progress
                )
            except Invalid as error:
                raise named_problem(error) from None
