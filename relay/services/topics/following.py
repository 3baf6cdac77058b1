"""The entries of a topic as they come, of all shards as one.

Each shard's stream is read from its own position on. An entry is next for certain once every other stream either has a
later one at hand or was read up to its end; so what was there before is in the order of the ids, and what is new comes
as it is read. A shard that is away holds up no other: its events come once it is back. A tail that ends can begin again
after exactly what it has taken, by the position on each shard:

    1789377302417-0                                  with one shard: the last entry that was taken
    1789377302417-0,1789377302391-2.1,0-0.2          with several: that of each, with its number
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import Invalid, Problem
from relay.store.driver.client import ask_together
from relay.store.driver.streams import id_before, order_of
from relay.store.isolation import UNAVAILABLE
from relay.store.sharding.places import entry_name, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis

PAGE = 100
"""Entries of a shard that are read at once."""
BEGINNING = "0-0"
_TIME = id_before("1-0")[1:]  # the end of an id before all entries of a moment (`topics.history.id_at`)
_ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,20}(\.[1-9][0-9]?)?")


class Taken(NamedTuple):
    """An entry that was taken."""

    shard: int
    id: bytes
    """The id on its shard."""
    fields: Mapping[bytes, bytes]


class Source:
    """A topic's stream on one shard, read from a position on."""

    def __init__(self, number: int, redis: Redis, stream: str, position: str, *, is_read_up: bool = False) -> None:
        """`position` is the entry after which it begins; with `is_read_up` it is the last one."""
        self.number = number
        self.redis = redis
        self.stream = stream
        self.position = position
        """The last entry that was taken."""
        self.rows: deque[tuple[bytes, Mapping[bytes, bytes]]] = deque()
        """The entries after it that were read."""
        self.is_read_up = is_read_up
        """True if the last read found less than it asked for."""
        self.is_away = False
        """True if the last read got no answer."""

    @property
    def is_waiting(self) -> bool:
        """True if nothing more of it can be read now."""
        return self.is_read_up or self.is_away

    @property
    def order(self) -> tuple[tuple[int, int], int]:
        """The sort key of its next entry, which it has."""
        return order_of(self.rows[0][0].decode()), self.number

    def add(self, rows: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> int:
        """Add what a read of a page found; return the number of entries."""
        self.rows.extend(rows)
        self.is_read_up = len(rows) < PAGE
        return len(rows)

    def take(self) -> Taken:
        """Take the next entry."""
        entry, fields = self.rows.popleft()
        self.position = entry.decode()
        return Taken(self.number, entry, fields)

    async def read(self) -> int:
        """Read the next entries, without waiting, unless some are left; return the number read."""
        if self.rows:
            return 0
        return self.add(await self.redis.xrange(self.stream, f"({self.position}", "+", count=PAGE))


def take(sources: Sequence[Source]) -> Iterator[Taken]:
    """Take from the sources the entries that are next for certain."""
    while all(source.rows or source.is_waiting for source in sources):
        filled = [source for source in sources if source.rows]
        if not filled:
            return
        yield min(filled, key=lambda source: source.order).take()


async def read(sources: Sequence[Source]) -> int:
    """Read the next entries of each source that has none left; return the number read.

    Raises:
        RedisError, OSError: no shard answers, or one refuses.
    """
    results = await asyncio.gather(*(source.read() for source in sources), return_exceptions=True)
    for source, result in zip(sources, results, strict=True):
        source.is_away = isinstance(result, UNAVAILABLE)
    for result in results:
        if isinstance(result, BaseException) and (not isinstance(result, UNAVAILABLE) or _are_away(sources)):
            raise result
    return sum(result for result in results if isinstance(result, int))


def _are_away(sources: Sequence[Source]) -> bool:
    return all(source.is_away for source in sources)


def position_of(sources: Sequence[Source]) -> str:
    """Return the position of a tail, from which it can begin again."""
    return ",".join(entry_name(source.position, source.number) for source in sources)


async def sources_at_end(redis: Redis, topic: str) -> list[Source]:
    """Return the sources of a topic for what comes from now on; `redis` is the client of the first shard."""
    lasts = await asyncio.gather(*(shard.xrevrange(shard.key.topic(topic), count=1) for shard in redis.shards))
    ends = [last[0][0].decode() if last else BEGINNING for last in lasts]
    return [
        Source(number, shard, shard.key.topic(topic), end, is_read_up=True)
        for number, (shard, end) in enumerate(zip(redis.shards, ends, strict=True))
    ]


def sources_since(redis: Redis, topic: str, after: str) -> list[Source]:
    """Return the sources of a topic for what comes after an id, on each shard."""
    return [Source(number, shard, shard.key.topic(topic), after) for number, shard in enumerate(redis.shards)]


def sources_after(redis: Redis, topic: str, position: str) -> list[Source]:
    """Return the sources of a topic for what comes after a position, or after an entry.

    A shard that the position does not name was added later, and nothing of it was taken; it begins with the position's
    earliest moment. After a single entry, the others begin with what comes after it by the order of ids.

    Raises:
        Invalid: it is neither.
    """
    names = position.split(",")
    if not all(map(_ENTRY.fullmatch, names)):
        raise _wrong(position)
    shards = redis.shards
    after = {shard: entry for entry, shard in map(entry_of, names)}
    if len(after) < len(names) or max(after) >= len(shards):
        raise _wrong(position)
    if len(names) == 1:
        [(at, entry)] = after.items()
        rest = {number: entry if number < at else id_before(entry) for number in range(len(shards))}
    else:
        rest = dict.fromkeys(range(len(shards)), min(after.values(), key=order_of))
    return [
        Source(number, shard, shard.key.topic(topic), after.get(number, rest[number]))
        for number, shard in enumerate(shards)
    ]


async def has_gap(sources: Sequence[Source], position: str) -> bool:
    """Return True if events after a position, which these sources have, were trimmed.

    Where it is a time, no entry was taken there.
    """
    named = {shard for _, shard in map(entry_of, position.split(","))}
    taken = [source for source in sources if source.number in named and not source.position.endswith(_TIME)]
    return any(await asyncio.gather(*map(_was_trimmed, taken)))


async def _was_trimmed(source: Source) -> bool:
    stream, after = source.stream, source.position

    def queue(pipe: Pipeline) -> None:
        pipe.xrange(stream, after, after)
        pipe.xrange(stream, count=1)

    itself, first = await ask_together(source.redis, queue)
    was_trimmed = not itself and after != BEGINNING and bool(first)
    return was_trimmed and order_of(first[0][0].decode()) > order_of(after)


def _wrong(position: str) -> Invalid:
    return Invalid(Problem("after", f'"{position[:40]}" is not the id of an entry'))
