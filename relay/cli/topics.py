"""`relay topics`: the topics and their readers, and dropping a topic that relay.toml no longer has."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ByteSize

from relay.cli import topic_tail
from relay.cli.command import command, commands, with_options
from relay.cli.filters import DryRunOption
from relay.cli.operator import WhyOption, record
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.core.errors import RelayError
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store.lanes.topic_drop import DroppedTopic, drop_topic
from relay.store.topics.registry import UnknownTopic
from relay.store.topics.topics import REMOVED, TopicState, topic_states

if TYPE_CHECKING:
    from relay.config.settings import Settings

app = commands(
    "Show the topics, their readers and their lag; follow one; drop one that relay.toml no longer has.",
    examples=("relay topics", "relay topics tail support", "relay topics drop former-topic --dry-run"),
)


def topics(context: typer.Context, *, view: View) -> None:
    """Show the size of each topic, the consumer groups that read it, and their lag.

    A topic that is no longer in relay.toml is marked as removed; relay topics drop deletes it.
    """
    if context.invoked_subcommand is not None:
        return
    states = run(_read(load_settings()))
    if view.json:
        print_json([asdict(state) for state in states])
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
        bool, typer.Option("--force", help="Also if a subscription or a consumer group has not read all of its events.")
    ] = False,
    why: WhyOption = "",
    view: View,
) -> None:
    """Delete a topic that is no longer in relay.toml, with its events and consumer groups.

    Without --force it is refused while a reader has unread or unacknowledged events. The ledger counts those of push
    subscriptions as dropped.
    """
    settings = load_settings()
    topic = run(_removed(settings, name, even_unread=force))
    if not view.json:
        say(f"{name} has {counted(topic.events, 'event')}, {counted(_unread(topic), 'unread event')} among them.")
    if not (dry_run or yes):
        if view.json or not sys.stdin.isatty():
            raise typer.BadParameter("without a terminal, --yes is needed to confirm it", param_hint="--yes")
        typer.confirm("Delete the topic?", abort=True)
    dropped = None if dry_run else run(_drop(settings, topic, why))
    if view.json:
        if dropped is None:
            print_json({"topic": name, "dry_run": True, "would_drop": topic.events, "unread": _unread(topic)})
        else:
            print_json({"topic": name, "dropped": True, **asdict(dropped)})
    elif dropped is not None:
        say(f"{name} is dropped, with {counted(dropped.events, 'event')}.")


def _unread(topic: TopicState) -> int:
    """Return the number of events that the reader furthest behind has not handled."""
    return max((group.lag + group.pending for group in topic.groups), default=0)


async def _read(settings: Settings) -> list[TopicState]:
    names = [topic.name for topic in read_config(settings.relay_config).topics]
    async with open_store(settings) as redis:
        return await topic_states(redis, names)


async def _removed(settings: Settings, name: str, *, even_unread: bool) -> TopicState:
    """Return the topic, if it may be dropped."""
    states = {topic.name: topic for topic in await _read(settings)}
    if name not in states:
        raise UnknownTopic(name, states)
    topic = states[name]
    if topic.state != REMOVED:
        raise RelayError(f"{name} is still in {settings.relay_config}; remove it there first, or it starts again")
    behind = [group for group in topic.groups if group.lag + group.pending]
    if behind and not even_unread:
        readers = ", ".join(f"{group.name} {group.lag} unread and {group.pending} pending" for group in behind)
        raise RelayError(f"{name} has events that are not handled yet ({readers}); --force drops them too")
    return topic


async def _drop(settings: Settings, topic: TopicState, why: str) -> DroppedTopic:
    async with open_store(settings) as redis:
        await record(redis, "topics drop", topic.name, topic.events, why)
        return await drop_topic(redis, topic.name)
