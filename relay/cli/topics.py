"""`relay topics`: the topics and their readers, and dropping a topic that relay.toml no longer has."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ByteSize

from relay.cli import topic_tail
from relay.cli.command import command, commands, with_options
from relay.cli.filters import DryRunOption
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.load import load_settings
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.topics import topics as service

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.services.topics.topics import TopicState
    from relay.store.lanes.topic_drop import DroppedTopic

app = commands(
    "Show the topics, their readers and their lag; follow one; drop one that relay.toml no longer has.",
    examples=("relay topics", "relay topics tail support", "relay topics drop former-topic --dry-run"),
)


def topics(context: typer.Context, *, view: View) -> None:
    """Show the size of each topic, the consumer groups that read it, and their lag.

    A topic that is no longer in relay.toml is marked as removed; relay topics drop deletes it. The state unknown is
    that of a stream that a reader of Redis has made by a misspelt name: nothing is routed to it.
    """
    if context.invoked_subcommand is not None:
        return
    states = run(_read(load_settings()))
    if view.json:
        print_json([_summary(state) for state in states])
        return
    rows = [
        (topic.name, topic.state, topic.events, ByteSize(topic.size).human_readable(), view.time(topic.oldest_ms))
        for topic in states
    ]
    print_table("Topics", ("topic", "state", "events", "memory", "oldest"), rows, view)
    groups = [
        (group.name, topic.name, "push" if group.is_push else "pull", group.lag, group.pending)
        for topic in states
        for group in topic.groups
    ]
    for topic in states:
        if topic.nearest is not None:
            say(f'{topic.name} is not a topic. Did its readers mean "{topic.nearest}"?')
    if groups:
        print_table("Consumer groups", ("group", "topic", "kind", "lag", "pending"), groups, view)


app.callback(invoke_without_command=True, no_args_is_help=False)(with_options(topics))


command(app, "tail", filters=topic_tail.FILTERS, examples=topic_tail.EXAMPLES, view=())(topic_tail.tail)


@command(
    app,
    examples=(
        "relay topics drop former-topic --dry-run",
        "relay topics drop former-topic --yes",
        "relay topics drop former-topic --force --yes",
    ),
    view=("json",),
)
def drop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The topic's name.")],
    *,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Drop it even if a subscription or a consumer group has not read all of its events."
        ),
    ] = False,
    why: WhyOption = "",
    view: View,
) -> None:
    """Delete a topic that is no longer in relay.toml, with its events and consumer groups.

    Without --force it is refused while a reader has unread or unacknowledged events. The ledger counts those of push
    subscriptions as dropped.
    """
    settings = load_settings()
    topic = run(_droppable(settings, name, even_unread=force))
    if not view.json:
        say(f"{name} has {counted(topic.events, 'event')}, {counted(topic.unread, 'unread event')} among them.")
    if not (dry_run or yes):
        if view.json or not sys.stdin.isatty():
            raise typer.BadParameter("without a terminal, --yes is needed to confirm it", param_hint="--yes")
        typer.confirm("Delete the topic?", abort=True)
    dropped = None if dry_run else run(_drop(settings, name, why))
    if view.json:
        if dropped is None:
            print_json({"topic": name, "dry_run": True, "would_drop": topic.events, "unread": topic.unread})
        else:
            print_json({"topic": name, "dropped": True, **asdict(dropped)})
    elif dropped is not None:
        say(f"{name} is dropped, with {counted(dropped.events, 'event')}.")


def _summary(topic: TopicState) -> dict[str, Any]:
    return {
        "name": topic.name,
        "state": topic.state,
        "events": topic.events,
        "size": topic.size,
        "oldest_ms": topic.oldest_ms,
        "groups": [
            {"name": group.name, "is_push": group.is_push, "lag": group.lag, "pending": group.pending}
            for group in topic.groups
        ],
    } | ({"nearest": topic.nearest} if topic.state == service.UNKNOWN else {})


async def _read(settings: Settings) -> list[TopicState]:
    async with open_context(settings) as context:
        states = await service.list_states(context, cli_principal(), is_exact=True)
        return [*states, *await service.list_ghosts(context, cli_principal())]


async def _droppable(settings: Settings, name: str, *, even_unread: bool) -> TopicState:
    async with open_context(settings) as context:
        return await service.droppable(context, cli_principal(), name, even_unread=even_unread)


async def _drop(settings: Settings, name: str, why: str) -> DroppedTopic:
    async with open_context(settings) as context:
        return await service.drop(context, cli_principal(), name, why, even_unread=True)
