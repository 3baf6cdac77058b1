"""An outage of one of two shards: members get the events of the other one, and nothing of either is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.services.topics.pull.access import open_group
from relay.services.topics.pull.receive import batches, receive
from relay.services.topics.pull.request import Request
from relay.services.topics.pull.settle import acknowledge, acknowledge_as_far, acknowledge_runs, runs_of
from relay.store.driver.client import REDIS_ERRORS, REQUEST_TIMEOUT, WORKER_TIMEOUT, open_redis
from relay.store.fixed_keys import shard_prefix
from relay.store.keys import GroupName
from relay.store.topics.pull.arrivals import Arrivals
from tests.redis_server import RedisServer
from tests.services.topics.pull.reading import CRM, feed, ids, receipts
from tests.support import TIMEOUT, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.services.context import Context
    from relay.store.driver.client import Redis

pytestmark = pytest.mark.timeout(120)  # seconds, also on a busy machine

GROUP = GroupName("support", "crm")
READ = Request(*GROUP)
WAIT = Request(*GROUP, wait=20)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path / "server")
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def other(server: RedisServer) -> AsyncIterator[Redis]:
    """The second shard, on a server of its own."""
    async with open_redis(server.url, REQUEST_TIMEOUT, shard_prefix("relay", 1)) as redis:
        yield redis


@pytest.fixture
async def split(context: Context, redis_url: str, other: Redis) -> AsyncIterator[Context]:
    async with open_redis(redis_url, WORKER_TIMEOUT) as home:
        home.others = (other,)
        yield replace(context, redis=home)


@pytest.fixture
async def watching(split: Context) -> AsyncIterator[Arrivals]:
    async with Arrivals(split.redis) as arrivals:
        yield arrivals


async def test_events_of_the_others_are_received_while_a_shard_is_away(
    split: Context, watching: Arrivals, server: RedisServer, other: Redis
) -> None:
    await feed(split.redis, "a")
    await feed(other, "b")
    first = await receive(split, watching, CRM, READ)
    assert sorted(ids(first)) == ["a", "b"]
    await server.kill()
    with pytest.raises(REDIS_ERRORS):
        await acknowledge(split, watching, CRM, GROUP, receipts(first))
    assert (await split.redis.xpending(split.redis.key.topic("support"), "crm"))["pending"] == 0

    await feed(split.redis, "c")
    second = await receive(split, watching, CRM, WAIT)
    assert (ids(second), second.error is not None) == (["c"], True)
    waiting = asyncio.create_task(receive(split, watching, CRM, WAIT))
    await eventually(lambda: watching.away)
    await feed(split.redis, "d")
    assert ids(await asyncio.wait_for(waiting, TIMEOUT)) == ["d"]
    with pytest.raises(REDIS_ERRORS):  # that there is nothing cannot be said
        await receive(split, watching, CRM, READ)

    await server.start()
    await eventually(lambda: not watching.away)
    assert ids(await receive(split, watching, CRM, Request(*GROUP, member="two"))) == []
    assert (await acknowledge(split, watching, CRM, GROUP, receipts(first))).done == 1


async def test_shard_that_hangs_does_not_delay_the_others_again_and_again(
    split: Context, watching: Arrivals, server: RedisServer
) -> None:
    await receive(split, watching, CRM, READ)
    server.signal(signal.SIGSTOP)
    await feed(split.redis, "first")
    assert ids(await receive(split, watching, CRM, READ)) == ["first"]
    await eventually(lambda: watching.away)
    started = time.monotonic()
    for number in range(10):
        await feed(split.redis, f"e{number}")
        assert ids(await receive(split, watching, CRM, READ)) == [f"e{number}"]
    assert time.monotonic() - started < 10 * REQUEST_TIMEOUT / 2
    server.signal(signal.SIGCONT)


async def test_recovered_shard_wakes_waiting_readers(
    split: Context, watching: Arrivals, server: RedisServer, other: Redis
) -> None:
    await receive(split, watching, CRM, READ)
    await server.kill()
    waiting = asyncio.create_task(receive(split, watching, CRM, WAIT))
    await eventually(lambda: watching.away)
    await server.start()
    await feed(other, "a")
    assert ids(await asyncio.wait_for(waiting, TIMEOUT)) == ["a"]


async def test_cursor_keeps_what_could_not_be_acknowledged(
    split: Context, watching: Arrivals, server: RedisServer, other: Redis
) -> None:
    await feed(split.redis, "a")
    await feed(other, "b")
    first = await receive(split, watching, CRM, READ)
    assert first.cursor is not None
    runs = runs_of(first.cursor, "ack")
    group = await open_group(split, CRM, *GROUP)
    await server.kill()
    with pytest.raises(REDIS_ERRORS):
        await acknowledge_runs(split, watching, CRM, GROUP, "http", runs)
    left = await acknowledge_as_far(group, watching, GROUP, "http", runs)
    assert list(map(str, left)) == [
        run for run in first.cursor.split(",") if run.endswith(receipts(first)[ids(first).index("b")])
    ]
    await feed(split.redis, "c")
    second = await receive(split, watching, CRM, READ)
    second.left = left
    assert second.cursor is not None
    await server.start()
    runs = runs_of(second.cursor, "ack")
    await eventually(lambda: not watching.away)
    assert await acknowledge_as_far(group, watching, GROUP, "http", runs) == []
    for shard in split.redis.shards:
        assert (await shard.xpending(shard.key.topic("support"), "crm"))["pending"] == 0


async def test_group_is_not_made_while_a_shard_is_away(
    split: Context, watching: Arrivals, server: RedisServer, other: Redis
) -> None:
    """It would miss what comes to that shard until it is made there."""
    await feed(split.redis, "a")
    await feed(other, "b")
    await server.kill()
    for request in (READ, Request(*GROUP, start="$")):
        with pytest.raises(REDIS_ERRORS):
            await receive(split, watching, CRM, request)
    assert await split.redis.xinfo_groups(split.redis.key.topic("support")) == []
    await server.start()
    await eventually(lambda: not watching.away)
    assert sorted(ids(await receive(split, watching, CRM, READ))) == ["a", "b"]


async def test_stream_goes_on_with_the_others(
    split: Context, watching: Arrivals, server: RedisServer, other: Redis
) -> None:
    await feed(other, "a")
    stream = batches(split, watching, CRM, Request(*GROUP, held=10))
    assert ids(await anext(stream)) == ["a"]
    await server.kill()
    await feed(split.redis, "b")
    assert ids(await asyncio.wait_for(anext(stream), TIMEOUT)) == ["b"]
    following = asyncio.ensure_future(anext(stream))
    await eventually(lambda: watching.away)
    await server.start()
    await feed(other, "c")
    assert ids(await asyncio.wait_for(following, TIMEOUT)) == ["c"]
