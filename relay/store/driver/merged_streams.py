"""Several streams read as one, in the order of their ids: by pages of entries, beginning at any place.

First only the id of the first entry of each stream is read, so that a thousand streams cost little; then the entries of
those streams whose turn it is, a few at a time. Streams that do not exist, or were overwritten, have no entries.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.scripts import Script
from relay.store.driver.streams import order_of, pages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis

_STREAMS = 250  # first ids that are read in one step, which blocks Redis for less than 1 ms
_AHEAD = 32  # streams whose entries are read in one round trip

_first_ids = Script(__package__, "first_ids")


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

    def __init__(self, name: str, stream: str, first: str, count: int) -> None:
        self.name = name
        self.stream = stream
        self.first = first
        """The id of its next entry; where that is not known yet, one before it."""
        self.next: str | None = first
        """The bound from which it is read on; None once it has ended."""
        self.rows: list[tuple[bytes, dict[bytes, bytes]]] = []
        """The entries in reverse order."""
        self.count = count


async def merged(  # noqa: PLR0913  the bounds of a read
    redis: Redis,
    streams: Mapping[str, str],
    *,
    newest_first: bool = False,
    after: Place | None = None,
    since: str | None = None,
    until: str | None = None,
    count: int = 50,
    max_count: int = 200,
) -> AsyncGenerator[Entry]:
    """Yield the entries of `streams` (keys, by a name for each) by their ids, and by name where the ids are equal.

    `after` is the place of the last entry that is not wanted any more; `since` and `until` are the first and the last
    id. `count` entries are wanted at first, and at most `max_count` of a stream are read in one round trip.
    """
    reader = _Reader(redis, since or "-", until or "+", max_count, newest_first=newest_first)
    heap = reader.in_order(await reader.begin(streams, after, count))
    while heap:
        _, _, part = heap[0]
        if not part.rows:
            await reader.read([each for _, _, each in heapq.nsmallest(_AHEAD, heap) if not each.rows])
            heap = reader.in_order([each for _, _, each in heap if each.rows or each.next is not None])
            continue  # entries may have been deleted, so that another stream is first
        entry, fields = part.rows.pop()
        yield Entry(Place(entry.decode(), part.name), fields)
        if part.rows:
            part.first = part.rows[-1][0].decode()
        if part.rows or part.next is not None:
            heapq.heapreplace(heap, (reader.rank(part), part.name, part))
        else:
            heapq.heappop(heap)


class _Reader:
    """A reader of entries in one direction."""

    def __init__(self, redis: Redis, since: str, until: str, max_count: int, *, newest_first: bool) -> None:
        self._redis = redis
        self._max_count = max_count
        self._since, self._until = since, until
        self._newest_first = newest_first

    def in_order(self, parts: Iterable[_Part]) -> list[tuple[tuple[int, int], str, _Part]]:
        """Return a heap of streams by their next entry."""
        heap = [(self.rank(part), part.name, part) for part in parts]
        heapq.heapify(heap)
        return heap

    def rank(self, part: _Part) -> tuple[int, int]:
        """Return the sort key of the next entry of a stream."""
        milliseconds, sequence = order_of(part.first)
        return (-milliseconds, -sequence) if self._newest_first else (milliseconds, sequence)

    async def begin(self, streams: Mapping[str, str], after: Place | None, count: int) -> list[_Part]:
        """Return the streams that have entries after the place `after`."""
        bounds: dict[str | None, list[str]] = {None: sorted(streams)}
        if after is not None:
            bounds = {
                f"({after.id}": [name for name in streams if name <= after.name],
                after.id: [name for name in streams if name > after.name],
            }
        firsts: dict[str, str] = {}
        for bound, names in bounds.items():
            for page in pages(names, _STREAMS):
                found = await self._first_ids([streams[name] for name in page], bound)
                firsts |= {name: first.decode() for name, first in zip(page, found, strict=True) if first}
        each = min(max(2 * count // max(len(firsts), 1), 1) + 1, self._max_count)
        return [_Part(name, streams[name], first, each) for name, first in firsts.items()]

    async def _first_ids(self, keys: Sequence[str], bound: str | None) -> list[bytes]:
        since, until = self._since, self._until
        if bound is not None and self._newest_first:
            until = bound
        elif bound is not None:
            since = bound
        found: list[bytes] = await _first_ids(self._redis, keys, [int(self._newest_first), since, until])
        return found

    async def read(self, parts: Sequence[_Part]) -> None:
        """Read the next entries of each stream."""
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
                part.next = None  # it was overwritten meanwhile; the workers log the repair
                continue
            part.next = f"({rows[-1][0].decode()}" if len(rows) == part.count else None
            part.rows = rows[::-1]
            part.first = part.rows[-1][0].decode() if rows else part.first
            part.count = min(4 * part.count, self._max_count)
