"""Parts of one partition's drain that shards on the same server share: reads, settlements, and the wait for marks.

Batches of each shard would be small, and each costs Redis and this process as much as several deliveries. A shard on a
cluster has parts of its own: it may be on another server than the others, and must delay none of them.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from relay.store.lanes.many.read import ReadBatches
from relay.store.lanes.settler import SettlementBatches
from relay.store.sharding.shards import by_server
from workers.delivery.sharing.ready import SharedReady

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.store.driver.client import Redis


class Shared(NamedTuple):
    """The parts that the shards on one server share; none if they share nothing."""

    reads: ReadBatches | None = None
    settlements: SettlementBatches | None = None
    ready: SharedReady | None = None


@asynccontextmanager
async def shared_parts(shards: Sequence[Redis], partition: int, timeout: float) -> AsyncIterator[list[Shared]]:
    """Open the shared parts of a drain, by the number of the shard; marks are waited for `timeout` seconds."""
    async with AsyncExitStack() as stack:
        found = [Shared()] * len(shards)
        for here in by_server(shards):
            if len(here) > 1:
                redis = next(iter(here.values()))
                shared = Shared(
                    await stack.enter_async_context(ReadBatches(redis)),
                    await stack.enter_async_context(SettlementBatches(redis)),
                    await stack.enter_async_context(SharedReady(here, partition, timeout)),
                )
                for number in here:
                    found[number] = shared
        yield found
