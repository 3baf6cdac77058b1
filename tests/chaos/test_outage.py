"""A server that stays away: it returns by itself, and until then its successor is affected by no other fault."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from relay.store.driver.client import Redis
from tests.chaos.cluster_redis import ClusterRedis
from tests.chaos.outage import Outage
from tests.chaos.sentinel_redis import SentinelRedis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AWAY = 1.5  # seconds

Servers = TypeVar("Servers", ClusterRedis, SentinelRedis)


@asynccontextmanager
async def running(servers: Servers) -> AsyncIterator[Servers]:
    try:
        await servers.start()
        yield servers
    finally:
        await servers.kill_all()


async def role_of(port: int) -> str:
    async with Redis(port=port) as redis:
        found = await redis.info("replication")
    return f"{found['role']} {found.get('master_link_status', '')}".strip()


async def test_outage_is_over_when_the_server_is_back() -> None:
    outage, returns = Outage(), asyncio.Event()

    async def bring_back() -> None:
        await returns.wait()

    await outage.over()
    outage.begin(1, 2, 0.0, bring_back)
    waiting = asyncio.create_task(outage.over())
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    assert (outage.away, outage.successor) == (1, 2)
    returns.set()
    await waiting
    assert (outage.away, outage.successor) == (0, 0)
    await outage.close()


async def test_error_of_the_return_is_raised() -> None:
    outage = Outage()

    async def bring_back() -> None:
        raise AssertionError("it does not start")

    outage.begin(1, 2, 0.0, bring_back)
    with pytest.raises(AssertionError, match="it does not start"):
        await outage.over()
    await outage.close()


@pytest.mark.slow
async def test_primary_of_a_cluster_stays_away_while_others_are_killed(tmp_path: Path) -> None:
    async with running(ClusterRedis(tmp_path / "redis", shards=3)) as servers:
        lost = servers.target
        await servers.lose(600)
        outage = servers.outage
        assert await servers.cluster.owner(servers.slots[0]) == outage.successor != outage.away == lost
        for _ in range(2):
            other = servers.target
            await asyncio.wait_for(servers.ready(), 5)
            await servers.kill()
            await servers.start()
            assert await role_of(other) == "slave up"
            assert servers.cluster.processes[lost].poll() is not None
        assert servers.target == outage.successor
        waiting = asyncio.create_task(servers.ready())
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert not done
        waiting.cancel()


@pytest.mark.slow
async def test_primary_of_a_cluster_returns_before_its_successor_is_killed(tmp_path: Path) -> None:
    async with running(ClusterRedis(tmp_path / "redis", shards=1)) as servers:
        lost = servers.target
        await servers.lose(AWAY)
        assert servers.cluster.processes[lost].poll() is not None
        await servers.ready()
        assert await role_of(lost) == "slave up"
        await servers.kill()
        await servers.start()
        assert await servers.primaries() == [lost]


@pytest.mark.slow
async def test_primary_behind_sentinels_returns_before_the_next_fault(tmp_path: Path) -> None:
    async with running(SentinelRedis(tmp_path / "redis")) as servers:
        lost = servers.target
        await servers.lose(AWAY)
        assert servers.target == servers.outage.successor != lost
        await servers.ready()
        assert await role_of(lost) == "slave up"
        await servers.returned()
