"""`relay topics`: the topics and their readers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import ByteSize

from relay.cli.command import command, commands
from relay.cli.output import View, print_json, print_table
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store.topics.topics import TopicState, topic_states

if TYPE_CHECKING:
    from relay.config.settings import Settings

app = commands()


@command(app, examples=("relay topics", "relay topics --json"))
def topics(*, view: View) -> None:
    """Show the size of each topic, the consumer groups that read it, and their lag."""
    states = run(_read(load_settings()))
    if view.json:
        print_json([asdict(state) for state in states])
        return
    rows = [
        (topic.name, topic.events, ByteSize(topic.size).human_readable(), view.time(topic.oldest_ms))
        for topic in states
    ]
    print_table("Topics", ("topic", "events", "memory", "oldest"), rows, view)
    groups = [
        (group.name, topic.name, "push" if group.is_push else "pull", group.lag, group.pending)
        for topic in states
        for group in topic.groups
    ]
    if groups:
        print_table("Consumer groups", ("group", "topic", "kind", "lag", "pending"), groups, view)


async def _read(settings: Settings) -> list[TopicState]:
    names = [topic.name for topic in read_config(settings.relay_config).topics]
    async with open_store(settings) as redis:
        return await topic_states(redis, names)
