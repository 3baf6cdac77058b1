"""Streams of several shards read as one, in the order of their ids.

A topic is one stream on each shard. Each shard gives ids by its server's clock, so two shards can give the same: an
entry's place names its shard too, as `<name>/<shard>`, and on the first shard just `<name>`, as without shards. Across
shards the order is that of the clocks; within a chat, which is on one shard, it is exact.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, TypedDict, Unpack

from relay.store.driver.merged_streams import merged
from relay.store.driver.streams import order_of
from relay.store.fixed_keys import shard_prefix

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Entry, Place
    from relay.store.sharding.shards import Shards


class Bounds(TypedDict, total=False):
    """The keyword arguments of `merged`."""

    newest_first: bool
    after: Place | None
    since: str | None
    until: str | None
    count: int
    max_count: int


def merged_shards(
    shards: Shards, streams_of: Callable[[Redis], Mapping[str, str]], **bounds: Unpack[Bounds]
) -> AsyncGenerator[Entry]:
    """Yield the entries of the streams (keys, by a name for each) that each shard has; bounds are as for `merged`."""
    if len(shards.all) == 1:
        return merged(shards.home, streams_of(shards.home), **bounds)
    return _merged(shards, streams_of, bounds)


async def _merged(
    shards: Shards, streams_of: Callable[[Redis], Mapping[str, str]], bounds: Bounds
) -> AsyncGenerator[Entry]:
    newest_first = bounds.get("newest_first", False)
    async with AsyncExitStack() as stack:
        parts = []
        for number, shard in enumerate(shards.all):
            streams = {shard_prefix(name, number): stream for name, stream in streams_of(shard).items()}
            parts.append(await stack.enter_async_context(aclosing(merged(shard, streams, **bounds))))
        firsts = await asyncio.gather(*map(_next, parts))
        heap = [(*_rank(entry, newest_first=newest_first), n) for n, entry in enumerate(firsts) if entry is not None]
        heapq.heapify(heap)
        waiting = dict(enumerate(firsts))
        while heap:
            *_, number = heap[0]
            entry = waiting[number]
            assert entry is not None  # noqa: S101  those that have ended are not in the heap
            yield entry
            waiting[number] = following = await _next(parts[number])
            if following is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (*_rank(following, newest_first=newest_first), number))


async def _next(entries: AsyncGenerator[Entry]) -> Entry | None:
    return await anext(entries, None)


def _rank(entry: Entry, *, newest_first: bool) -> tuple[tuple[int, int], str]:
    milliseconds, sequence = order_of(entry.place.id)
    return (-milliseconds, -sequence) if newest_first else (milliseconds, sequence), entry.place.name
