"""`relay event`: the story of one event."""

from __future__ import annotations

from typing import Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.event_view import print_story, story_summary
from relay.cli.operator import cli_principal
from relay.cli.output import View, print_json
from relay.cli.remote import calls
from relay.cli.remote.access import Access, Via
from relay.cli.search_progress import CursorOption, SecondsOption, continued_by, search_progress
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.events import EventStory, story

app = commands()


@command(
    app,
    examples=(
        "relay event 0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f",
        "relay event 0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f --json | jq .push",
    ),
    view=("utc", "json"),
)
def event(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="Linq's event id.")],
    *,
    body: Annotated[bool, typer.Option("--body", help="Show the body, too.")] = False,
    seconds: SecondsOption = 10.0,
    cursor: CursorOption = None,
    via: Via,
    view: View,
) -> None:
    """Show what happened to an event: received, routed, delivered, tried, pulled.

    It is found at once by the time of its acceptance, which is known for RELAY_DEDUPE_WINDOW; an older one is searched
    in the topics, newest first. Exit code 1 if it is not found.
    """
    found = run(_story(via.remote(), event_id, cursor, seconds, view))
    if view.json:
        print_json(story_summary(found))
    else:
        print_story(found, view, body=body)


async def _story(access: Access | None, event_id: str, cursor: str | None, seconds: float, view: View) -> EventStory:
    with continued_by(f"event {event_id}", f'event "{event_id}"', view):
        if access is not None:
            return await calls.story(access, event_id, cursor, seconds or None)
        async with open_context(load_settings()) as context:
            with search_progress(view) as progress:
                return await story(
                    context, cli_principal(), event_id, cursor, seconds=seconds or None, progress=progress
                )
