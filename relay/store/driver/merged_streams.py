"""Several streams read as one, in the order of their ids: by pages of entries, beginning at any place.

Each stream is read a few entries at a time, and the next ones of a stream only when its last were taken. Streams that
do not exist, or were overwritten, have no entries.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.streams import order_of, pages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from relay.store.driver.client import Redis

_STREAMS = 250
"""Streams that are read in one pipeline."""


class Place(NamedTuple):
    """A place in the merged streams: an entry."""

    id: str
    name: str
    """The name of its stream."""


class Entry(NamedTuple):
    """An entry of one of the streams."""

    place: Place
    fields: Mapping[bytes, bytes]


class _Part:
    """A stream, and the entries of it that were read and not taken."""

    def __init__(self, name: str, stream: str) -> None:
        self.name = name
        self.stream = stream
        self.next: str | None = None
        """The bound from which it is read on; None once it has ended."""
        self.rows: list[tuple[bytes, dict[bytes, bytes]]] = []
        self.count = 0


async def merged(  # noqa: PLR0913  the bounds of a read
    redis: Redis,
    streams: Mapping[str, str],
    *,
    newest_first: bool = False,
    after: Place | None = None,
    since: str | None = None,
    until: str | None = None,
    count: int = 200,
) -> AsyncGenerator[Entry]:
    """Yield the entries of `streams` (keys, by a name for each) by their ids, and by name where the ids are equal.

    `after` is the place of the last entry that is not wanted any more; `since` and `until` are the first and the last
    id, and `count` the number of entries of a stream that are read at a time.
    """
    parts = [_Part(name, stream) for name, stream in sorted(streams.items())]
    for part in parts:
        part.count = max(count // len(parts), 1)
        first = until if newest_first else since
        if after is not None:
            first = after.id if part.name > after.name else f"({after.id}"
        part.next = first or ("+" if newest_first else "-")
    reader = _Reader(redis, count, since or "-", until or "+", newest_first=newest_first)
    for page in pages(parts, _STREAMS):
        await reader.read(page)
    heap = [(reader.rank(part), part.name, part) for part in parts if part.rows]
    heapq.heapify(heap)
    while heap:
        _, _, part = heap[0]
        entry, fields = part.rows.pop()
        yield Entry(Place(entry.decode(), part.name), fields)
        if not part.rows and part.next is not None:
            await reader.read([part])
        if part.rows:
            heapq.heapreplace(heap, (reader.rank(part), part.name, part))
        else:
            heapq.heappop(heap)


class _Reader:
    """A reader of entries in one direction."""

    def __init__(self, redis: Redis, count: int, since: str, until: str, *, newest_first: bool) -> None:
        self._redis = redis
        self._max_count = count
        self._since, self._until = since, until
        self._newest_first = newest_first

    def rank(self, part: _Part) -> tuple[int, int]:
        """Return the sort key of the next entry of a stream."""
        milliseconds, sequence = order_of(part.rows[-1][0].decode())
        return (-milliseconds, -sequence) if self._newest_first else (milliseconds, sequence)

    async def read(self, parts: Iterable[_Part]) -> None:
        """Read the next entries of each stream; `rows` has them in reverse order."""
        parts = list(parts)
        async with self._redis.pipeline(transaction=False) as pipe:
            for part in parts:
                assert part.next is not None  # noqa: S101  it is not read again once it has ended
                if self._newest_first:
                    pipe.xrevrange(part.stream, part.next, self._since, count=part.count)
                else:
                    pipe.xrange(part.stream, part.next, self._until, count=part.count)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        for part, rows in zip(parts, replies, strict=True):
            if isinstance(rows, Exception):
                if "WRONGTYPE" not in str(rows):
                    raise rows
                part.next = None  # it was overwritten; the workers log the repair
                continue
            has_more = len(rows) == part.count
            part.next = f"({rows[-1][0].decode()}" if has_more else None
            part.rows = rows[::-1]
            part.count = min(4 * part.count, self._max_count)
