"""Samples of Redis itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from relay.metrics import declared
from relay.store.driver.client import ask
from relay.store.driver.persistence import is_persistent
from relay.store.inbox.memory_guard import memory_in
from relay.store.state.sample import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from relay.store.driver.client import Redis


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
