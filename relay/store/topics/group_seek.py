"""Moving a pull group of a topic to another place: back, to read events again, or forwards, to skip some.

A group stands after the last entry that it was given, and is given next what follows. What it was given and has not
acknowledged is pending: beyond the new place that is acknowledged in the step that moves the group, since it is given
out as new again; before it, it stays with whoever has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.core.errors import StoreError
from relay.store import keys
from relay.store.driver.scripts import Script
from relay.store.driver.streams import count_between, order_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

_PAGE = 1000

_seek = Script(__package__, "seek_group")


@dataclass(frozen=True, slots=True)
class PendingConsumer:
    """A consumer of the group that has events pending."""

    name: str
    before: int
    """Events before the new position; they stay with the consumer."""
    beyond: int
    """Events beyond it; they are delivered again."""


@dataclass(frozen=True, slots=True)
class Seek:
    """A group's way to another place."""

    topic: str
    group: str
    stands: str
    """The last entry that it was given."""
    after: str
    """The entry after which it goes on."""
    events: int
    """The number of events between the two."""
    next: str | None
    """The first entry that it is given then, if there is one yet."""
    last: str
    """The last entry of the stream."""
    entries_read: int
    """The number of entries ever added up to `after`."""
    holders: tuple[PendingConsumer, ...]

    @property
    def is_back(self) -> bool:
        """True if events are read again, not skipped."""
        return order_of(self.after) < order_of(self.stands)

    @property
    def is_nothing(self) -> bool:
        """True if the group stands there already."""
        return self.after == self.stands or (not self.events and not any(holder.beyond for holder in self.holders))


async def groups_of(redis: Redis, topic: str) -> list[str]:
    """The consumer groups of a topic, push lanes' included; none if its stream is not there."""
    try:
        return [group["name"].decode(errors="replace") for group in await redis.xinfo_groups(keys.topic(topic))]
    except ResponseError:
        return []


async def plan_seek(redis: Redis, topic: str, group: str, after: str | None) -> Seek:
    """Plan the seek of `group` to the id `after`, or to the end, if that is None or beyond it.

    Raises:
        StoreError: the topic has no such group (any more).
    """
    stream = keys.topic(topic)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xinfo_groups(stream)
        pipe.xinfo_stream(stream)
        groups, info = await pipe.execute()
    stands = next((one["last-delivered-id"].decode() for one in groups if one["name"] == group.encode()), None)
    if stands is None:
        raise StoreError(f'topic "{topic}" has no group "{group}"')
    last = info["last-generated-id"].decode()
    after = last if after is None or order_of(after) > order_of(last) else after
    low, high = sorted((stands, after), key=order_of)
    following = await redis.xrange(stream, f"({after}", "+", count=1)
    return Seek(
        topic=topic,
        group=group,
        stands=stands,
        after=after,
        events=await count_between(redis, stream, low, high),
        next=following[0][0].decode() if following else None,
        last=last,
        entries_read=int(info["entries-added"]) - await count_between(redis, stream, after, last),
        holders=await _holders(redis, stream, group, after),
    )


async def _holders(redis: Redis, stream: str, group: str, after: str) -> tuple[PendingConsumer, ...]:
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
    return int(await _seek(redis, [keys.topic(move.topic)], [move.group, move.after, move.entries_read]))
