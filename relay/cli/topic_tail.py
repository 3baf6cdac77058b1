"""`relay topics tail`: the events of a topic as they are routed."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

import typer
from pydantic_core import to_json

from relay.cli.event_view import event_summary
from relay.cli.events import HandleOption, named_problem, query_of
from relay.cli.operator import cli_principal
from relay.cli.output import View, say
from relay.cli.remote import calls
from relay.cli.remote.access import Access, Via
from relay.config.load import load_settings
from relay.core.errors import Invalid
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics.events import EventQuery
from relay.services.topics.events import tail as tail_events
from relay.services.topics.history.view import EventView

FILTERS = ("event_type", "line", "chat", "since")
EXAMPLES = (
    "relay topics tail support",
    "relay topics tail support --type 'message.*' --since 10m",
    "relay topics tail support --handle +13035550188 --json | jq .id",
)


def tail(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name.")],
    *,
    handle: HandleOption = None,
    which: EventFilter,
    via: Via,
    utc: Annotated[bool, typer.Option("--utc", help="Show times in UTC, not in this machine's zone.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print each event as JSON, in a line of its own.")] = False,
) -> None:
    """Show the events of a topic as they are routed, until Ctrl-C.

    It reads beside all consumer groups and changes nothing.
    """
    run(_tail(via.remote(), topic, query_of(which, handle), View(utc=utc, json=json)))


async def _tail(access: Access | None, topic: str, query: EventQuery, view: View) -> None:
    if access is not None:
        async for event in calls.tail(access, topic, query, lambda text: typer.echo(text, err=True)):
            _print(event, view)
        return
    async with open_context(load_settings()) as context:
        events: Any = tail_events(context, cli_principal(), topic, query)
        try:
            async with aclosing(events):
                async for event in events:
                    _print(event, view)
        except Invalid as error:
            raise named_problem(error) from None


def _print(event: EventView, view: View) -> None:
    if view.json:
        typer.echo(to_json(event_summary(event)).decode())
        return
    routed = view.time(event.places[0].at_ms)
    cells = (routed, event.type, event.line or "no line", event.direction, event.service, event.chat, event.id)
    say("  ".join(filter(None, cells)))
