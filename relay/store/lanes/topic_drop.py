"""Dropping a topic that relay.toml no longer has: its events, and its place in every lane that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.store.driver.scripts import Script
from relay.store.topics.pull.dead_letters import GroupLetters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.store.driver.client import Redis
    from relay.store.keys import GroupName

_drop = Script(__package__, "drop_topic")


@dataclass(frozen=True, slots=True)
class DroppedTopic:
    """A topic that was dropped."""

    events: int
    """The number of events that it had."""
    undelivered: Mapping[str, int]
    """The number of events that each push subscription was still owed; the ledger has them as dropped."""


async def drop_topic(redis: Redis, topic: str, letters: Sequence[GroupName] = ()) -> DroppedTopic:
    """Delete a topic in one step; the ledger of its push subscriptions balances afterwards.

    `letters` are its pull groups that have dead letters, which are deleted too.
    """
    redis_keys = [redis.key.topic(topic), redis.key.topics, redis.key.lanes, redis.key.counts, redis.key.prepared]
    events, *lanes = await _drop(redis, redis_keys, [topic, redis.key.lane_prefix])
    for name in letters:
        await GroupLetters(redis).delete_group(name, with_letters=True)
    names = (name.decode() for name in lanes[::2])
    return DroppedTopic(events, dict(zip(names, lanes[1::2], strict=True)))
