"""A topic on four shards of a Redis Cluster, each on a primary of its own or beside others."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis import RedisCluster as BlockingCluster
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.cluster import ClusterNode as BlockingNode
from redis.crc import key_slot

from relay.store.driver.client import REDIS_ERRORS, WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from tests.clusters import clusters
from tests.consumer.stage import KINDS, Reader, take
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.clusters import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.background, pytest.mark.timeout(180)]  # seconds, also on a busy machine

IDS = tuple(map(str, range(40)))
COUNT = 4


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with clusters(tmp_path / "servers", replicas=0) as cluster:
        for port in cluster.ports:  # the others go on without one
            await cluster.command(port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        yield cluster


@pytest.fixture
async def shards(cluster: Cluster) -> AsyncIterator[Shards]:
    async with open_shards(cluster.url, WORKER_TIMEOUT, count=COUNT) as shards:
        await shards.home.set(shards.home.key.shards, COUNT)
        yield shards


async def feed(shards: Shards, *ids: str) -> None:
    """Add events, each to the shard of its number."""
    for event_id in ids:
        shard = shards.all[int(event_id) % COUNT]
        await shard.xadd(shard.key.topic("support"), {"id": event_id, "type": "x", "at": "1", "body": "{}"})


async def pending(shards: Shards) -> int:
    """Return how many events of the group are not acknowledged."""
    rows = [await shard.xpending(shard.key.topic("support"), "g") for shard in shards.all]
    return sum(row["pending"] for row in rows)


@asynccontextmanager
async def source_of(cluster: Cluster, kind: str, how: str) -> AsyncIterator[Any]:
    """Open what a consumer is given: the URL, or a client of the caller."""
    if how == "url":
        yield cluster.url
    elif kind == "async":
        nodes = [ClusterNode("127.0.0.1", port) for port in cluster.ports]
        async with RedisCluster(startup_nodes=nodes, socket_timeout=2, decode_responses=True) as client:
            yield client
            assert await client.ping(target_nodes=RedisCluster.ALL_NODES)  # it is the caller's, and open
    else:
        blocking_nodes = [BlockingNode("127.0.0.1", port) for port in cluster.ports]  # type: ignore[no-untyped-call]
        with BlockingCluster(startup_nodes=blocking_nodes, socket_timeout=2, decode_responses=True) as blocking:
            yield blocking
            assert blocking.ping(target_nodes=BlockingCluster.ALL_NODES)


@pytest.mark.parametrize("how", ["url", "client"])
async def test_every_shard_is_read_and_the_others_without_one(
    cluster: Cluster, shards: Shards, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    owners = [await cluster.owner(key_slot(shard.key.name.encode())) for shard in shards.all]
    away = next(port for port in owners if port != owners[0])
    of_away = tuple(each for each in IDS if owners[int(each) % COUNT] == away)
    for kind in KINDS:
        await feed(shards, *IDS)
        async with source_of(cluster, kind, how) as source:
            assert sorted((event.id for event in await take(kind, source, len(IDS))), key=int) == list(IDS)
            assert not await pending(shards)
            caplog.clear()
            await read_through_an_outage(cluster, shards, Reader(kind, source, "loop"), away, of_away, caplog)


async def read_through_an_outage(
    cluster: Cluster,
    shards: Shards,
    reader: Reader,
    away: int,
    of_away: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Stop the server at `away`, which has the events `of_away`, while a member reads, and have it go on."""
    others = tuple(each for each in IDS if each not in of_away)
    async with reader.reading():
        await feed(shards, *IDS[:COUNT])
        await eventually(lambda: reader.has(IDS[:COUNT]))
        cluster.signal(away, signal.SIGSTOP)
        try:
            await feed(shards, *others)
            await eventually(lambda: reader.has(others))
            await eventually(lambda: waiting(caplog), timeout=30)
            await feed(shards, *(f"{int(each) + 100}" for each in others))
            await eventually(lambda: reader.has(tuple(f"{int(each) + 100}" for each in others)))
            numbers = {int(each) % COUNT for each in of_away}
            assert waiting(caplog) <= {f"on shard {number}" for number in numbers}
        finally:
            cluster.signal(away, signal.SIGCONT)
        await eventually(lambda: feed_when_back(shards, of_away), timeout=30)
        await eventually(lambda: reader.has(of_away), timeout=30)
    await eventually(lambda: none_pending(shards))


def waiting(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Return the shards that are waited for, as the log has it."""
    lines = [line for line in caplog.text.splitlines() if "waiting for Redis" in line]
    return {line[line.find("on shard") :].partition(":")[0] for line in lines}


async def feed_when_back(shards: Shards, ids: tuple[str, ...]) -> bool:
    try:
        await feed(shards, *ids)
    except REDIS_ERRORS:
        return False
    return True


async def none_pending(shards: Shards) -> bool:
    return not await pending(shards)
