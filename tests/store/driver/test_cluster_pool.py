"""A cluster: the pool follows the slot of the relay's keys, and no accepted event is lost or doubled meanwhile."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis as AnyRedis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.core.errors import SettingsError, StoreUnavailable
from relay.store import wakeups
from relay.store.driver.client import REQUEST_TIMEOUT, WORKER_TIMEOUT, ask, open_redis, retry_until_redis_answers
from relay.store.driver.pools.failover_pool import open_pool
from relay.store.inbox.acceptor import Acceptor
from relay.store.rights import check
from relay.store.rights.check import check_access
from relay.store.rights.rules import relay_rule
from tests.building import webhook_of
from tests.clusters import Cluster, clusters
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.store.driver.client import Redis

ENDLESSLY: dict[str, Any] = {
    "retry": Retry(ConstantBackoff(0.05), -1),
    "retry_on_error": [RedisConnectionError, RedisTimeoutError, OSError],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with asyncio.Runner() as runner:
        context = clusters(tmp_path_factory.mktemp("cluster") / "servers")
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
async def redis(cluster: Cluster) -> AsyncIterator[Redis]:
    """Return a client, whose keys are empty."""
    async with open_redis(cluster.url, WORKER_TIMEOUT) as redis:
        await redis.flushall()
        yield redis


@asynccontextmanager
async def accepting(redis: Redis, replicas: int = 0) -> AsyncIterator[set[str]]:
    """Accept events all the time; at the end, each that was confirmed is in the inbox, once."""
    confirmed: set[str] = set()

    async def accept_for_ever(acceptor: Acceptor) -> None:
        webhook = webhook_of()
        while True:
            try:
                await acceptor.accept(webhook)
            except StoreUnavailable:
                await asyncio.sleep(0.01)  # the same event again, like Linq
            else:
                confirmed.add(webhook.id)
                webhook = webhook_of()

    async with Acceptor(redis, 60.0, time.time, replicas=replicas) as acceptor:
        senders = [asyncio.create_task(accept_for_ever(acceptor)) for _ in range(4)]
        yield confirmed
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
    rows = await retry_until_redis_answers("reading the inbox", lambda: redis.xrange(redis.key.inbox))
    ids = [fields[b"id"].decode() for _, fields in rows]
    assert len(ids) == len(set(ids))
    assert confirmed <= set(ids)


async def more(confirmed: set[str], count: int = 200) -> None:
    """Wait until more events are confirmed."""
    enough = len(confirmed) + count
    await eventually(lambda: len(confirmed) >= enough)


async def test_slot_that_moves_under_load_loses_and_doubles_nothing(cluster: Cluster) -> None:
    async with open_redis(cluster.url, REQUEST_TIMEOUT) as redis, accepting(redis) as confirmed:
        await more(confirmed)
        source = await cluster.owner()
        target = await cluster.other_primary(source)
        await cluster.begin_to_move(source, target)
        waiting = asyncio.create_task(more(confirmed))
        await cluster.finish_move(source, target)
        await waiting
        assert await redis.exists(redis.key.inbox)
        idle: list[Any] = redis.connection_pool._available_connections
        assert {connection.port for connection in idle} == {target}


async def test_no_script_runs_while_keys_are_being_moved(redis: Redis, cluster: Cluster) -> None:
    webhook = webhook_of()
    async with Acceptor(redis, 60.0, time.time) as acceptor:
        await acceptor.accept(webhook)
        source = await cluster.owner()
        target = await cluster.other_primary(source)
        await cluster.begin_to_move(source, target)
        with pytest.raises(StoreUnavailable):  # though each key that a repeat needs is still there
            await acceptor.accept(webhook)
        await cluster.finish_move(source, target)
        assert not await acceptor.accept(webhook)
    assert await redis.hget(redis.key.counts, "duplicate") == b"1"  # type: ignore[misc]  # typed for both clients


async def test_killed_primary_is_replaced_by_its_replica(cluster: Cluster) -> None:
    async with open_redis(cluster.url, REQUEST_TIMEOUT) as redis, accepting(redis, replicas=1) as confirmed:
        await more(confirmed)
        first = await cluster.owner()
        replica = await cluster.replica_of(first)
        cluster.kill(first)
        await eventually(lambda: is_owner(cluster, replica))
        cluster.start(first)  # now it is the replica that must confirm
        await more(confirmed)
        await eventually(cluster.is_whole)


async def test_connection_that_is_retried_for_ever_goes_to_the_replica_of_a_dead_primary(cluster: Cluster) -> None:
    """A worker's queue reads in this way: it must not wait until the machine of the former primary is repaired."""
    first = await cluster.owner()
    replica = await cluster.replica_of(first)
    pool = open_pool(cluster.url, REQUEST_TIMEOUT, "{relay}", **ENDLESSLY)
    async with AnyRedis.from_pool(pool) as redis:
        assert await redis.ping()
        await pool.disconnect()
        cluster.kill(first)
        await asyncio.wait_for(redis.set("{relay}:x", 1), timeout=20)
        assert await is_owner(cluster, replica)
        cluster.start(first)
        await eventually(cluster.is_whole)


async def test_wrong_password_is_not_tried_for_ever(cluster: Cluster) -> None:
    pool = open_pool(cluster.url.replace("//", "//relay:wrong@"), REQUEST_TIMEOUT, "{relay}", **ENDLESSLY)
    async with AnyRedis.from_pool(pool) as redis:
        with pytest.raises(AuthenticationError):
            await asyncio.wait_for(redis.ping(), timeout=10)


async def is_owner(cluster: Cluster, port: int) -> bool:
    return await cluster.owner(asked=port) == port


async def test_blocking_read_ends_when_the_slot_moves(redis: Redis, cluster: Cluster) -> None:
    await redis.xgroup_create(redis.key.inbox, "g", mkstream=True)
    read = asyncio.create_task(ask(redis.xreadgroup("g", "c", {redis.key.inbox: ">"}, block=4000)))
    source = await cluster.owner()
    target = await cluster.other_primary(source)
    await eventually(lambda: has_blocked_client(cluster, source))
    await cluster.begin_to_move(source, target)
    await cluster.finish_move(source, target)
    with pytest.raises(RedisConnectionError, match="does not serve these keys now"):
        await read
    await redis.xadd(redis.key.inbox, {"f": "1"})
    [[_, entries]] = await redis.xreadgroup("g", "c", {redis.key.inbox: ">"})
    assert len(entries) == 1


async def has_blocked_client(cluster: Cluster, port: int) -> bool:
    return bool((await cluster.command(port, "INFO", "clients"))["blocked_clients"])


async def test_transactions_and_wakeups_of_arq_are_in_one_slot(redis: Redis) -> None:
    async with redis.pipeline(transaction=True) as pipe:
        pipe.set(redis.key.prepared, 1)
        pipe.hset(redis.key.counts, "accepted", "1")
        pipe.sadd(redis.key.topics, "all")
        assert await pipe.execute() == [True, 1, 1]
    wakeup = wakeups.route(redis.key)
    await wakeups.wake(redis, wakeup)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.exists(f"arq:job:{wakeup.job_id}")
        pipe.zcard(wakeup.queue)
        pipe.get(redis.key.prepared)
        assert await pipe.execute() == [1, 1, b"1"]


async def test_printed_rights_are_sufficient_on_a_cluster(redis: Redis, cluster: Cluster) -> None:
    await check_access(redis)
    url = cluster.url.replace("//", "//relay:secret@")
    for rule, refused in ((str(relay_rule(redis.key)), ""), (str(relay_rule(redis.key)).replace("+xadd ", ""), "XADD")):
        for port in cluster.ports:
            await cluster.command(port, "ACL", "SETUSER", "relay", "reset", "on", ">secret", *rule.split())
        async with open_redis(url, REQUEST_TIMEOUT) as client:
            if refused:
                with pytest.raises(SettingsError, match=f"may not use {refused};.*~{{relay}}:"):
                    await check_access(client)
            else:
                await check_access(client)
                async with Acceptor(client, 60.0, time.time) as acceptor:
                    assert await acceptor.accept(webhook_of())
    async with open_redis(url.replace("secret", "wrong"), REQUEST_TIMEOUT) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(check, "_AUTHENTICATION_PAUSE", 0)
            with pytest.raises(SettingsError, match="user name or password is wrong"):
                await check_access(client)


async def test_url_that_does_not_fit_the_server_is_refused(cluster: Cluster, redis_url: str) -> None:
    plain = f"redis://127.0.0.1:{cluster.ports[0]}"
    async with open_redis(plain, REQUEST_TIMEOUT) as redis:
        with pytest.raises(SettingsError, match=r"in cluster mode.*redis\+cluster://"):
            await check_access(redis)
    alone = redis_url.replace("redis://", "redis+cluster://")
    async with open_redis(alone, REQUEST_TIMEOUT) as redis:
        with pytest.raises(SettingsError, match="runs without cluster mode"):
            await check_access(redis)
