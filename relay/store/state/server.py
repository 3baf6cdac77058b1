"""Samples of Redis itself; of several shards the worst."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.metrics import declared
from relay.store.driver.client import ask
from relay.store.driver.persistence import is_persistent
from relay.store.inbox.memory_guard import memory_in
from relay.store.ledger.whole import of_each
from relay.store.state.sample import Sample, whole_samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.store.driver.client import Redis


async def whole_server_samples(redis: Redis) -> list[Sample]:
    """Return the samples of Redis as all shards have it; the memory is that of the fullest, with its own limit."""

    async def of_shard(shard: Redis) -> list[Sample]:
        return [sample async for sample in server_samples(shard)]

    parts = await of_each(redis, of_shard)
    if len(parts) == 1:
        return parts[0]
    memory = max((_memory_in(part) for part in parts), key=_fill)
    others = [[sample for sample in part if sample not in _memory_in(part)] for part in parts]
    return [*whole_samples(others), *memory]


def _memory_in(samples: Sequence[Sample]) -> list[Sample]:
    return [each for each in samples if each.metric in {declared.REDIS_MEMORY_USED, declared.REDIS_MEMORY_MAX}]


def _fill(memory: Sequence[Sample]) -> tuple[float, float]:
    """Return how full a server is: the used part of its limit, else what it uses."""
    if not memory:
        return -1.0, 0.0
    used, limit = (sample.value for sample in memory)
    return (used / limit if limit else 0.0), used


async def server_samples(redis: Redis) -> AsyncIterator[Sample]:
    """Yield the samples of Redis; those that this Redis does not tell are left out."""
    loop = asyncio.get_running_loop()
    await redis.ping()  # it may have to connect
    began = loop.time()
    await redis.ping()
    yield Sample(declared.REDIS_ROUND_TRIP, loop.time() - began)
    yield Sample(declared.REDIS_UP, 1)
    info: Mapping[str, Any]
    try:
        info = await ask(redis.info())
    except ResponseError:  # not allowed, or not offered: `relay doctor` says so
        info = {}
    if {"used_memory", "maxmemory"} <= info.keys():
        memory = memory_in(info)
        yield Sample(declared.REDIS_MEMORY_USED, memory.used)
        yield Sample(declared.REDIS_MEMORY_MAX, memory.limit)
    if (persistent := is_persistent(info)) is not None:
        yield Sample(declared.REDIS_PERSISTENCE_HEALTHY, persistent)
    if "connected_slaves" in info:
        yield Sample(declared.REDIS_CONNECTED_REPLICAS, int(info["connected_slaves"]))
