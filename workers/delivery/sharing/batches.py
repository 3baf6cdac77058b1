"""Batches of one partition that shards on the same server share: reads of new deliveries, and settlements.

Batches of each shard would be small, and each costs Redis and this process as much as several deliveries. A shard on a
cluster has batches of its own: it may be on another server than the others, and must delay none of them.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from relay.store.lanes.many.read import ReadBatches
from relay.store.lanes.settler import SettlementBatches
from relay.store.sharding.shards import by_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.store.driver.client import Redis


class Batches(NamedTuple):
    """The batches of the shards on one server."""

    reads: ReadBatches | None = None
    settlements: SettlementBatches | None = None


@asynccontextmanager
async def shared_batches(shards: Sequence[Redis]) -> AsyncIterator[list[Batches]]:
    """Open the batches of shards, by number; those that share none have none here."""
    async with AsyncExitStack() as stack:
        found = [Batches()] * len(shards)
        for here in by_server(shards):
            if len(here) > 1:
                redis = next(iter(here.values()))
                reads = await stack.enter_async_context(ReadBatches(redis))
                settlements = await stack.enter_async_context(SettlementBatches(redis))
                for number in here:
                    found[number] = Batches(reads, settlements)
        yield found
