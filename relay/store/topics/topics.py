"""The state of topics: size, age, and consumer groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.store import keys
from relay.store.driver.client import ask, ask_together
from relay.store.driver.streams import count_between, order_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis

ACTIVE, REMOVED = "active", "removed"


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
    state: str
    """`active`, or `removed` if relay.toml no longer has it."""
    events: int
    """The number of kept events."""
    size: int
    """Bytes of Redis's memory."""
    oldest_ms: int | None
    """Time of routing of the oldest, Unix milliseconds."""
    groups: tuple[GroupState, ...]


async def topic_states(redis: Redis, known: Iterable[str]) -> list[TopicState]:
    """Return the state of the topics in `known`, in their order, then of all others that ever had an event."""
    active = list(known)
    return [
        await _state(redis, name, ACTIVE if name in active else REMOVED) for name in await topic_names(redis, active)
    ]


async def topic_names(redis: Redis, known: Iterable[str]) -> list[str]:
    """Return the topics in `known`, in their order, then all others that ever had an event."""
    fed = sorted(name.decode() for name in await ask(redis.smembers(redis.key.topics)))
    return list(dict.fromkeys([*known, *fed]))


async def _state(redis: Redis, name: str, state: str) -> TopicState:
    stream = redis.key.topic(name)
    if await redis.type(stream) != b"stream":  # it does not exist, or was overwritten: the workers log the repair
        return TopicState(name, state, 0, 0, None, ())

    def queue(pipe: Pipeline) -> None:
        pipe.xlen(stream)
        pipe.memory_usage(stream)
        pipe.xrange(stream, count=1)
        pipe.xinfo_groups(stream)
        pipe.xinfo_stream(stream)

    events, size, first, groups, info = await ask_together(redis, queue)
    oldest = int(first[0][0].partition(b"-")[0]) if first else None
    unread = await _unread(redis, stream, groups, last=info["last-generated-id"].decode())
    readers = [_reader(row, unread[row["last-delivered-id"].decode()]) for row in groups]
    return TopicState(name, state, events, int(size or 0), oldest, tuple(readers))


async def _unread(redis: Redis, stream: str, groups: Iterable[Mapping[str, Any]], last: str) -> dict[str, int]:
    """Count the entries after the position of each group, in one pass over the stream.

    Redis's own number (`lag`) is an estimate, which Redis 7.0 gets wrong when it loads its append-only file.
    """
    counts: dict[str, int] = {}
    total, end = 0, last
    for position in sorted({row["last-delivered-id"].decode() for row in groups}, key=order_of, reverse=True):
        total += await count_between(redis, stream, position, end)
        counts[position], end = total, min(position, end, key=order_of)
    return counts


def _reader(row: Mapping[str, Any], unread: int) -> GroupState:
    name = row["name"].decode(errors="replace")
    is_push = name.startswith(keys.PUSH_GROUP_PREFIX)
    return GroupState(name.removeprefix(keys.PUSH_GROUP_PREFIX), is_push, unread, int(row["pending"]))
