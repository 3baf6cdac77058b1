"""The whole path on a Redis Cluster: the slot of a shard moves and loses its primary meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from relay.consumer import consume
from relay.sandbox.app import Emission
from tests.clusters import SLOT
from tests.journeys.conftest import LINES, open_service
from tests.on_cluster import SharedCluster
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.clusters import Cluster
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine


@pytest.fixture
async def store(session_cluster: Cluster, tmp_path: Path, shard_count: int) -> SharedCluster:
    store = SharedCluster(tmp_path, session_cluster, shard_count)
    await store.empty()
    return store


@pytest.fixture
async def running(store: SharedCluster, tmp_path: Path) -> AsyncIterator[Service]:
    async with open_service(tmp_path, store) as service:
        del service.environment["RELAY_REPLICAS"]
        await service.run("bootstrap", "apply")
        await service.start("ingress")
        await service.start(module="workers")
        await eventually(service.is_ready)
        await eventually(lambda: service.logged("worker.started"))
        yield service


async def test_relay_works_while_its_slot_moves_and_its_primary_dies(running: Service, store: SharedCluster) -> None:
    sink, works, cluster = running.sink, True, store.cluster

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if works or received.path == "/crm" else 500)

    sink.answer = answer
    first = send(running, 20)
    await eventually(lambda: set(sink.ids("/crm")) >= first)
    source = await cluster.owner()
    target = await cluster.other_primary(source)
    moved = send(running, 10)
    await cluster.begin_to_move(source, target)
    moved |= send(running, 10)
    await cluster.finish_move(source, target)
    await eventually(lambda: set(sink.ids("/crm")) >= first | moved)
    assert not await cluster.command(source, "CLUSTER", "COUNTKEYSINSLOT", SLOT)

    replica = await cluster.replica_of(target)
    await eventually(cluster.is_whole)
    cluster.kill(target)
    failed_over = send(running, 20)
    await eventually(lambda: owns(cluster, replica))
    failed_over |= send(running, 10)
    sent = first | moved | failed_over
    await eventually(lambda: set(sink.ids("/crm")) >= sent)
    await eventually(lambda: set(sink.ids("/bot")) >= sent)  # else their failures open the breaker
    cluster.start(target)
    await eventually(cluster.is_whole)

    works = False
    letter = send(running, 1)
    await eventually(lambda: has_dead_letter(running))
    works = True
    await running.run("dead", "replay", "--subscription", "bot", "--all", "--why", "repaired")
    await eventually(lambda: set(sink.ids("/bot")) >= sent | letter)
    await pull_all(cluster, sent | letter)

    ledger = json.loads(await eventually(lambda: balanced(running)))
    assert ledger["totals"]["routed"] == len(sent | letter)
    assert "CROSSSLOT" not in running.log.read_text()
    assert sum([await redis_keys(store, port) for port in cluster.ports])
    for port in cluster.ports:
        assert await cluster.command(port, "DBSIZE") == await redis_keys(store, port)
    assert "cluster mode" not in await running.run("doctor", code=None)


def send(service: Service, count: int) -> set[str]:
    """Emit events; return their ids."""
    return {service.sandbox.emit(Emission(type="message.received", line=LINES[0]))[0] for _ in range(count)}


async def owns(cluster: Cluster, port: int) -> bool:
    return await cluster.owner(asked=port) == port


async def redis_keys(store: SharedCluster, port: int) -> int:
    """Return the number of keys that a server has in the slots of the shards."""
    counts = [await store.cluster.command(port, "CLUSTER", "COUNTKEYSINSLOT", slot) for slot in store.slots]
    return sum(map(int, counts))


async def has_dead_letter(service: Service) -> bool:
    return bool(json.loads(await service.run("dead", "list", "--json")))


async def balanced(service: Service) -> str | None:
    text = await service.run("ledger", "--json", code=None)
    return text if json.loads(text)["balances"] else None


async def pull_all(cluster: Cluster, expected: set[str]) -> None:
    """Read the topic with a client of the cluster, and with the URL."""
    nodes = [ClusterNode("127.0.0.1", port) for port in cluster.ports]
    async with RedisCluster(startup_nodes=nodes, socket_timeout=5) as client:
        for source, group in ((client, "billing"), (cluster.url, "search")):
            seen: set[str] = set()
            async with asyncio.timeout(20), consume(source, topic="messages", group=group) as events:
                async for event in events:
                    seen.add(event.id)
                    if seen == expected:
                        break
