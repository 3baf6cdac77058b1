"""Seek: move a pull group of a topic to another position, back to read events again, or forwards to skip some.

The position of a group is the last entry that it has read. Entries that it has read and not acknowledged are pending:
those beyond the new position are acknowledged in the step that moves the group, since they are delivered again as new
ones; those before it stay with their consumers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redis.exceptions import ResponseError

from relay.consumer.names import RETURNED
from relay.core.errors import StoreError
from relay.store.driver.client import ask_together
from relay.store.driver.scripts import Script
from relay.store.driver.streams import count_between, order_of
from relay.store.topics.pull.group import HTTP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis

_PAGE = 1000

_seek = Script(__package__, "seek_group")


@dataclass(frozen=True, slots=True)
class Member:
    """A consumer of a group."""

    name: str
    pending: int
    """The number of events that it has read and not acknowledged."""
    idle_ms: int
    """Time since it last asked for events, milliseconds."""

    @property
    def kind(self) -> Literal["redis", "http", "returned"]:
        """Connection of the member: to Redis, or by HTTP; `returned` is none, but has events that were handed back."""
        if self.name == RETURNED:
            return "returned"
        return "http" if self.name.startswith(HTTP_PREFIX) else "redis"


@dataclass(frozen=True, slots=True)
class PendingConsumer:
    """A consumer of the group with pending events."""

    name: str
    before: int
    """The number of events before the new position; they stay with the consumer."""
    beyond: int
    """The number of events beyond it; they are delivered again."""


@dataclass(frozen=True, slots=True)
class Seek:
    """A group's move to another position."""

    topic: str
    group: str
    current: str
    """The last entry that it has read."""
    after: str
    """The entry after which it resumes."""
    events: int
    """The number of events between the two."""
    next: str | None
    """The first entry that it reads then; None if there is none yet."""
    last: str
    """The last entry of the stream."""
    entries_read: int
    """The number of entries ever added up to `after`."""
    consumers: tuple[PendingConsumer, ...]

    @property
    def is_back(self) -> bool:
        """True if events are read again, not skipped."""
        return order_of(self.after) < order_of(self.current)

    @property
    def is_noop(self) -> bool:
        """True if the seek has no effect."""
        has_pending_beyond = any(consumer.beyond for consumer in self.consumers)
        return self.after == self.current or (not self.events and not has_pending_beyond)


async def groups_of(redis: Redis, topic: str) -> list[str]:
    """Return the consumer groups of a topic, including those of push lanes; none if its stream does not exist."""
    try:
        return [group["name"].decode(errors="replace") for group in await redis.xinfo_groups(redis.key.topic(topic))]
    except ResponseError:
        return []


async def members_of(redis: Redis, groups: Sequence[tuple[str, str]]) -> list[tuple[Member, ...]]:
    """Return the consumers of each group, which is given by its topic and its name; none for one that is gone."""
    async with redis.pipeline(transaction=False) as pipe:
        for topic, group in groups:
            pipe.xinfo_consumers(redis.key.topic(topic), group)
        replies: list[Any] = await pipe.execute(raise_on_error=False) if groups else []
    return [() if isinstance(rows, ResponseError) else _members(rows) for rows in replies]


def _members(rows: Sequence[Mapping[str, Any]]) -> tuple[Member, ...]:
    members = (Member(row["name"].decode(errors="replace"), int(row["pending"]), int(row["idle"])) for row in rows)
    return tuple(sorted(members, key=lambda member: member.name))


async def plan_seek(redis: Redis, topic: str, group: str, after: str | None) -> Seek:
    """Plan the seek of `group` to the id `after`, or to the end, if that is None or beyond it.

    Raises:
        StoreError: the topic has no such group.
    """
    stream = redis.key.topic(topic)

    def queue(pipe: Pipeline) -> None:
        pipe.xinfo_groups(stream)
        pipe.xinfo_stream(stream)

    groups, info = await ask_together(redis, queue)
    current = next((row["last-delivered-id"].decode() for row in groups if row["name"] == group.encode()), None)
    if current is None:
        raise StoreError(f'topic "{topic}" has no group "{group}"')
    last = info["last-generated-id"].decode()
    after = last if after is None or order_of(after) > order_of(last) else after
    low, high = sorted((current, after), key=order_of)
    following = await redis.xrange(stream, f"({after}", "+", count=1)
    return Seek(
        topic=topic,
        group=group,
        current=current,
        after=after,
        events=await count_between(redis, stream, low, high),
        next=following[0][0].decode() if following else None,
        last=last,
        entries_read=int(info["entries-added"]) - await count_between(redis, stream, after, last),
        consumers=await _consumers(redis, stream, group, after),
    )


async def _consumers(redis: Redis, stream: str, group: str, after: str) -> tuple[PendingConsumer, ...]:
    counts: dict[str, list[int]] = {}
    start = "-"
    while rows := await _pending(redis, stream, group, start):
        for row in rows:
            is_beyond = order_of(row["message_id"].decode()) > order_of(after)
            counts.setdefault(row["consumer"].decode(errors="replace"), [0, 0])[is_beyond] += 1
        start = f"({rows[-1]['message_id'].decode()}"
    return tuple(PendingConsumer(name, *count) for name, count in sorted(counts.items()))


async def _pending(redis: Redis, stream: str, group: str, start: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await redis.xpending_range(stream, group, start, "+", _PAGE)
    return rows


async def seek(redis: Redis, move: Seek) -> int:
    """Move the group; return the number of pending events that are delivered again."""
    keys = [redis.key.topic(move.topic), redis.key.places(move.topic)]
    return int(await _seek(redis, keys, [move.group, move.after, move.entries_read]))
