"""Failover: a connection to a replica is replaced by one to the new primary, and no accepted event is lost."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis as AnyRedis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.core.errors import SettingsError, StoreUnavailable
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis, retry_until_redis_answers
from relay.store.driver.pools.failover_pool import open_pool
from relay.store.inbox.acceptor import Acceptor
from relay.store.rights import check
from tests.building import webhook_of
from tests.sentinels import sentinels
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.sentinels import Topology


@pytest.fixture
async def redis(topology: Topology) -> AsyncIterator[Redis]:
    async with open_redis(topology.url, REQUEST_TIMEOUT) as redis:
        yield redis


@pytest.fixture
async def topology(tmp_path: Path) -> AsyncIterator[Topology]:
    async with sentinels(tmp_path / "servers") as topology:
        yield topology


async def test_wrong_password_of_the_sentinels_is_told_apart(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_AUTHENTICATION_PAUSE", 0)
    async with open_redis(f"redis://127.0.0.1:{topology.sentinels[0]}", REQUEST_TIMEOUT) as sentinel:
        await sentinel.execute_command("ACL", "SETUSER", "default", "resetpass", ">secret")  # type: ignore[no-untyped-call]
    for url in (topology.url, f"{topology.url}?sentinel_password=hunter2"):
        async with open_redis(url, REQUEST_TIMEOUT) as redis:
            with pytest.raises(SettingsError, match="password of the Sentinels") as caught:
                await check.check_access(redis)
        assert "hunter2" not in str(caught.value)
    async with open_redis(f"{topology.url}?sentinel_password=secret", REQUEST_TIMEOUT) as redis:
        await check.check_access(redis)
        assert await redis.ping()


async def ids_in_inbox(redis: Redis) -> set[str]:
    rows = await retry_until_redis_answers("reading the inbox", lambda: redis.xrange(KEYS.inbox))
    return {fields[b"id"].decode() for _, fields in rows}


async def test_confirmed_events_survive_the_loss_of_the_primary(redis: Redis, topology: Topology) -> None:
    confirmed: set[str] = set()
    first = await topology.primary()

    async def accept_for_ever(acceptor: Acceptor) -> None:
        while True:
            webhook = webhook_of()
            try:
                await acceptor.accept(webhook)
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                confirmed.add(webhook.id)

    async with Acceptor(redis, 60.0, time.time, replicas=1) as acceptor:
        senders = [asyncio.create_task(accept_for_ever(acceptor)) for _ in range(4)]
        await eventually(lambda: len(confirmed) > 200)
        topology.kill(first)
        await eventually(lambda: topology.has_moved_from(first))
        before = len(confirmed)
        await topology.follow(first)  # now it is the replica that must confirm
        await eventually(lambda: len(confirmed) > before + 200)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
    assert confirmed <= await ids_in_inbox(redis)


async def test_connection_that_is_retried_for_ever_goes_to_the_new_primary(topology: Topology) -> None:
    """A worker's queue reads in this way: it must not wait until the machine of the former primary is repaired."""
    first = await topology.primary()
    retry, errors = Retry(ConstantBackoff(0.05), -1), [RedisConnectionError, OSError]
    pool = open_pool(topology.url, REQUEST_TIMEOUT, "relay", retry=retry, retry_on_error=errors)
    async with AnyRedis.from_pool(pool) as redis:
        assert await redis.ping()
        await pool.disconnect()
        topology.kill(first)
        await asyncio.wait_for(redis.set("relay:x", 1), timeout=30)
        assert await topology.has_moved_from(first)


async def test_unconfirmed_event_is_refused_and_is_a_duplicate_later(redis: Redis, topology: Topology) -> None:
    [replica] = topology.ports[1:]
    webhook = webhook_of()
    hasty = replace(DEFAULTS, accept_wait=2.0, accept_attempt=1.9)
    async with (
        Acceptor(redis, 60.0, time.time, replicas=1) as acceptor,
        Acceptor(redis, 60.0, time.time, replicas=1, timings=hasty) as gives_up,
    ):
        await acceptor.accept(webhook_of())
        topology.kill(replica)
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas have confirmed the write"):
            await gives_up.accept(webhook)
        topology.start(replica)
        await eventually(topology.is_whole)
        assert not await acceptor.accept(webhook)


async def test_connection_is_closed_after_readonly(topology: Topology) -> None:
    async with open_redis(f"redis://127.0.0.1:{topology.ports[1]}/0", REQUEST_TIMEOUT) as redis:
        with pytest.raises(RedisConnectionError, match="the server is a replica now"):
            await redis.set("x", 1)
        assert not any(connection.is_connected for connection in redis.connection_pool._available_connections)
