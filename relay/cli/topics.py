"""`relay topics`: what is in each topic, and who reads it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import ByteSize

from relay.cli.output import JsonOption, local_time, print_json, print_table

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.topics.topics import TopicState


def topics(*, json: JsonOption = False) -> None:
    """Show what is in each topic, which groups read it, and how far behind they are."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    states = run(_read(load_settings()))
    if json:
        print_json([asdict(state) for state in states])
        return
    rows = [
        (one.name, one.events, ByteSize(one.size).human_readable(), local_time(one.oldest_ms) if one.oldest_ms else "")
        for one in states
    ]
    print_table("Topics", ("topic", "events", "memory", "oldest"), rows)
    groups = [
        (group.name, one.name, "push" if group.is_push else "pull", group.lag, group.pending)
        for one in states
        for group in one.groups
    ]
    if groups:
        print_table("Readers", ("group", "topic", "kind", "not yet read", "not yet acknowledged"), groups)


async def _read(settings: Settings) -> list[TopicState]:
    from relay.config.file import read_config
    from relay.parts import open_store
    from relay.store.topics.topics import topic_states

    names = [topic.name for topic in read_config(settings.relay_config).topics]
    async with open_store(settings) as redis:
        return await topic_states(redis, names)
