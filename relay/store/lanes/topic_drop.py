"""Dropping a topic that relay.toml no longer has: its events, and its place in every lane that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store.driver.client import Redis

_drop = Script(__package__, "drop_topic")


@dataclass(frozen=True, slots=True)
class DroppedTopic:
    """A topic that was dropped."""

    events: int
    """The number of events that it had."""
    undelivered: Mapping[str, int]
    """The number of events that each push subscription was still owed; the ledger has them as dropped."""


async def drop_topic(redis: Redis, topic: str) -> DroppedTopic:
    """Delete a topic in one step; the ledger of its push subscriptions balances afterwards."""
    redis_keys = [redis.key.topic(topic), redis.key.topics, redis.key.lanes, redis.key.counts]
    events, *lanes = await _drop(redis, redis_keys, [topic, redis.key.lane_prefix])
    names = (name.decode() for name in lanes[::2])
    return DroppedTopic(events, dict(zip(names, lanes[1::2], strict=True)))
