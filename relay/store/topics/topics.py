"""The state of topics: size, age, and consumer groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from relay.store import keys
from relay.store.driver.client import ask, ask_together
from relay.store.driver.streams import count_between, lag_of, order_of, pages

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis

ACTIVE, REMOVED = "active", "removed"

_PAGE = 50  # topics: their transaction blocks Redis for about 1 ms


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
    is_exact: bool = True
    """False if the lag is Redis's own number, or an estimate, and was not counted."""


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


@dataclass(frozen=True, slots=True)
class GroupReading:
    """The reply of Redis about a consumer group of a topic."""

    name: str
    position: str
    """The last entry that it has read."""
    lag: int | None
    """Redis's own number of entries that it has not read; None if Redis does not know it."""
    pending: int

    @property
    def is_push(self) -> bool:
        """True if it belongs to a lane."""
        return self.name.startswith(keys.PUSH_GROUP_PREFIX)

    @property
    def subscriber(self) -> str:
        """The group's name; for a push lane, the subscription's."""
        return self.name.removeprefix(keys.PUSH_GROUP_PREFIX)


@dataclass(frozen=True, slots=True)
class TopicReading:
    """The reply of Redis about a topic; nothing if it has no stream."""

    name: str
    events: int = 0
    size: int = 0
    """Bytes of memory."""
    first: str | None = None
    """The oldest entry; None if there is none."""
    last: str = "0-0"
    """The last entry that it ever had."""
    groups: tuple[GroupReading, ...] = ()

    @property
    def oldest_ms(self) -> int | None:
        """Time of routing of the oldest, Unix milliseconds."""
        return order_of(self.first)[0] if self.first else None


async def topic_states(redis: Redis, known: Iterable[str]) -> list[TopicState]:
    """Return the state of the topics in `known`, in their order, then of all others that ever had an event."""
    active = list(known)
    readings = await read_topics(redis, await topic_names(redis, active))
    return [await counted_state(redis, reading, active) for reading in readings]


async def topic_names(redis: Redis, known: Iterable[str]) -> list[str]:
    """Return the topics in `known`, in their order, then all others that ever had an event."""
    fed = sorted(name.decode() for name in await ask(redis.smembers(redis.key.topics)))
    return list(dict.fromkeys([*known, *fed]))


async def read_topics(redis: Redis, names: Sequence[str]) -> list[TopicReading]:
    """Return what Redis says about each topic, some in one transaction; nothing is counted."""
    return [reading for page in pages(names, _PAGE) for reading in await _read_page(redis, page)]


async def _read_page(redis: Redis, names: Sequence[str]) -> list[TopicReading]:
    def queue(pipe: Pipeline) -> None:
        for name in names:
            pipe.memory_usage(redis.key.topic(name))
            pipe.xinfo_stream(redis.key.topic(name))
            pipe.xinfo_groups(redis.key.topic(name))

    replies = await ask_together(redis, queue, raise_on_error=False)
    return [_reading(name, *row) for name, row in zip(names, zip(*(iter(replies),) * 3, strict=True), strict=True)]


def _reading(name: str, size: Any, info: Any, groups: Any) -> TopicReading:
    if isinstance(info, ResponseError):
        if isinstance(info, NoPermissionError):
            raise info
        return TopicReading(name)  # it does not exist, or was overwritten: the workers log the repair
    first = info["first-entry"]
    return TopicReading(
        name=name,
        events=int(info["length"]),
        size=int(size or 0),
        first=first[0].decode() if first else None,
        last=info["last-generated-id"].decode(),
        groups=tuple(_group(row, info) for row in groups),
    )


def _group(row: Mapping[str, Any], info: Mapping[str, Any]) -> GroupReading:
    name = row["name"].decode(errors="replace")
    position = row["last-delivered-id"].decode()
    return GroupReading(name, position, lag_of(row, info), int(row["pending"]))


async def counted_state(redis: Redis, reading: TopicReading, active: Container[str]) -> TopicState:
    """Return the state of a topic, after counting what its groups have not read: all of that is read.

    `active` has the topics of relay.toml.
    """
    unread = await _unread(redis, reading)
    groups = (
        GroupState(group.subscriber, group.is_push, unread[group.position], group.pending) for group in reading.groups
    )
    return _state_of(reading, active, groups)


def estimated_state(reading: TopicReading, active: Container[str]) -> TopicState:
    """Return the state of a topic without counting: the lags are estimates."""
    groups = (
        GroupState(group.subscriber, group.is_push, estimated_lag(reading, group), group.pending, is_exact=False)
        for group in reading.groups
    )
    return _state_of(reading, active, groups)


def estimated_lag(reading: TopicReading, group: GroupReading) -> int:
    """Return Redis's number of events that a group has not read; where it has none, one by the times of the events."""
    if group.lag is not None:
        return group.lag
    first, last = order_of(reading.first or reading.last), order_of(reading.last)
    at = order_of(group.position)
    if at >= last:
        return 0
    unread_ms, all_ms = last[0] - max(at, first)[0], last[0] - first[0]
    return max(reading.events * unread_ms // all_ms, 1) if all_ms else reading.events


def _state_of(reading: TopicReading, active: Container[str], groups: Iterable[GroupState]) -> TopicState:
    state = ACTIVE if reading.name in active else REMOVED
    return TopicState(reading.name, state, reading.events, reading.size, reading.oldest_ms, tuple(groups))


def whole_topic(parts: Sequence[TopicState]) -> TopicState:
    """Return the state of a topic, from its parts on each shard."""
    groups: dict[tuple[str, bool], list[GroupState]] = {}
    for part in parts:
        for group in part.groups:
            groups.setdefault((group.name, group.is_push), []).append(group)
    return TopicState(
        name=parts[0].name,
        state=parts[0].state,
        events=sum(part.events for part in parts),
        size=sum(part.size for part in parts),
        oldest_ms=min((part.oldest_ms for part in parts if part.oldest_ms is not None), default=None),
        groups=tuple(
            GroupState(
                *name,
                lag=sum(group.lag for group in of_name),
                pending=sum(group.pending for group in of_name),
                is_exact=all(group.is_exact for group in of_name),
            )
            for name, of_name in groups.items()
        ),
    )


async def _unread(redis: Redis, reading: TopicReading) -> dict[str, int]:
    """Count the entries after the position of each group, in one pass over the stream.

    Redis's own number (`lag`) is an estimate, which Redis 7.0 gets wrong when it loads its append-only file.
    """
    counts: dict[str, int] = {}
    total, end = 0, reading.last
    for position in sorted({group.position for group in reading.groups}, key=order_of, reverse=True):
        total += await count_between(redis, redis.key.topic(reading.name), position, end)
        counts[position], end = total, min(position, end, key=order_of)
    return counts
