"""The Redis of a measurement: one server, or a cluster of some primaries, with the relay's shards spread over them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from redis.crc import key_slot

from relay.process.embedded_redis import embedded_redis
from relay.store.fixed_keys import DEFAULT_PREFIX, shard_prefix
from tests.clusters import clusters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Setup(NamedTuple):
    """The shards of a relay, and the servers that they are on."""

    shards: int = 1
    primaries: int = 0
    """Primaries of a cluster, without replicas; 0 for one server that is none."""


ONE = Setup()
"""One shard on one server."""


class Servers(NamedTuple):
    """Servers that run."""

    url: str
    """Value for REDIS_URL."""
    pids: tuple[int, ...]


@asynccontextmanager
async def redis_servers(directory: Path, setup: Setup) -> AsyncIterator[Servers]:
    """Run the servers of a setup; on a cluster each shard is on the next primary."""
    if not setup.primaries:
        async with embedded_redis(directory) as embedded:
            yield Servers(embedded.url, (embedded.pid,))
        return
    async with clusters(directory, setup.primaries, replicas=0) as cluster:
        slots = [key_slot(shard_prefix(DEFAULT_PREFIX, shard).encode()) for shard in range(setup.shards)]
        await cluster.place({slot: cluster.ports[number % setup.primaries] for number, slot in enumerate(slots)})
        yield Servers(cluster.url, tuple(process.pid for process in cluster.processes.values()))
