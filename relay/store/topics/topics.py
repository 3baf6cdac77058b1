"""The state of topics: size, age, and consumer groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.streams import count_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class GroupState:
    """A consumer group of a topic."""

    name: str
    """The group's name; for a push lane, the subscription's."""
    is_push: bool
    lag: int
    """The number of events that it has not read."""
    pending: int
    """The number of events that it has read and not acknowledged."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """The size, age and groups of a topic."""

    name: str
    events: int
    """The number of kept events."""
    size: int
    """Bytes of Redis's memory."""
    oldest_ms: int | None
    """Time of routing of the oldest, Unix milliseconds."""
    groups: tuple[GroupState, ...]


async def topic_states(redis: Redis, known: Iterable[str]) -> list[TopicState]:
    """Return the state of the topics in `known`, in their order, then of all others that ever had an event."""
    return [await _state(redis, name) for name in await topic_names(redis, known)]


async def topic_names(redis: Redis, known: Iterable[str]) -> list[str]:
    """Return the topics in `known`, in their order, then all others that ever had an event."""
    fed = sorted(name.decode() for name in await ask(redis.smembers(keys.TOPICS)))
    return list(dict.fromkeys([*known, *fed]))


async def _state(redis: Redis, name: str) -> TopicState:
    stream = keys.topic(name)
    if await redis.type(stream) != b"stream":  # it does not exist, or was overwritten: the workers log the repair
        return TopicState(name, 0, 0, None, ())
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xlen(stream)
        pipe.memory_usage(stream)
        pipe.xrange(stream, count=1)
        pipe.xinfo_groups(stream)
        events, size, first, groups = await pipe.execute()
    oldest = int(first[0][0].partition(b"-")[0]) if first else None
    readers = [await _reader(redis, stream, row) for row in groups]
    return TopicState(name, events, int(size or 0), oldest, tuple(readers))


async def _reader(redis: Redis, stream: str, row: Mapping[str, Any]) -> GroupState:
    name = row["name"].decode(errors="replace")
    lag = row["lag"]
    if lag is None:  # Redis cannot tell after a group was set to an arbitrary position
        lag = await count_between(redis, stream, row["last-delivered-id"].decode())
    is_push = name.startswith(keys.PUSH_GROUP_PREFIX)
    return GroupState(name.removeprefix(keys.PUSH_GROUP_PREFIX), is_push, int(lag), int(row["pending"]))
