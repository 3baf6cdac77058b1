"""The number of shards is that of the first start, and a process with another number refuses to start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.config.settings import Settings
from relay.core.errors import SettingsError
from relay.parts import open_store
from relay.services.context import open_context
from relay.store.driver.client import REQUEST_TIMEOUT, Redis, ask
from relay.store.sharding.number import NumberOfShards, require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards
from tests.redis_server import RedisServer
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def start(url: str, count: int) -> None:
    async with open_shards(url, REQUEST_TIMEOUT, count=count) as shards:
        await require_number_of_shards(shards.home)


async def test_first_start_decides(redis: Redis, redis_url: str) -> None:
    await start(redis_url, 4)
    await start(redis_url, 4)
    assert await redis.get(redis.key.shards) == b"4"
    with pytest.raises(SettingsError, match=r"RELAY_SHARDS: it is 1, but the relay has 4: set 4.* see relay shards"):
        await start(redis_url, 1)


async def test_relay_that_has_counted_events_without_a_number_has_one(redis: Redis, redis_url: str) -> None:
    await ask(redis.hset(redis.key.counts, "accepted", "1"))
    with pytest.raises(SettingsError, match="it is 2, but the relay has 1"):
        await start(redis_url, 2)
    await start(redis_url, 1)


async def test_number_that_was_lost_is_that_of_the_counts(redis: Redis, redis_url: str) -> None:
    await start(redis_url, 4)
    await redis.delete(redis.key.shards)
    with pytest.raises(SettingsError, match="it is 1, but the relay has 4"):
        await start(redis_url, 1)
    await start(redis_url, 4)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis that does not run yet."""
    server = RedisServer(tmp_path / "server")
    yield server
    await server.kill()


async def test_number_is_checked_as_soon_as_redis_answers(server: RedisServer) -> None:
    stop = asyncio.Event()
    async with open_shards(server.url, REQUEST_TIMEOUT, count=2) as shards:
        number = NumberOfShards(shards.home)
        async with number.checked(stop.set):
            assert number.refusal == "the number of shards has not been read yet"
            await server.start()
            await eventually(lambda: number.refusal is None)
        assert await shards.home.get(shards.home.key.shards) == b"2"
    assert not stop.is_set()


async def test_process_with_another_number_ends_when_redis_answers(server: RedisServer) -> None:
    await server.start()
    await start(server.url, 4)
    await server.kill()
    wrong, stop = "it is 1, but the relay has 4", asyncio.Event()

    async def run(number: NumberOfShards) -> None:
        async with number.checked(stop.set):
            await server.start()
            await stop.wait()
            assert wrong in str(number.refusal)

    async with open_shards(server.url, REQUEST_TIMEOUT) as shards:
        with pytest.raises(SettingsError, match=wrong):
            await run(NumberOfShards(shards.home))
        stop.clear()
        with pytest.raises(SettingsError, match=wrong):
            await run(NumberOfShards(shards.home))
    assert not stop.is_set(), "the second time it is known at once"


async def test_command_with_another_number_is_refused_and_stores_none(redis: Redis, redis_url: str) -> None:
    async with open_context(Settings(redis_url=redis_url)):
        assert not await redis.exists(redis.key.shards)
    await start(redis_url, 2)
    with pytest.raises(SettingsError, match="RELAY_SHARDS: it is 1, but the relay has 2"):
        async with open_context(Settings(redis_url=redis_url)):
            raise AssertionError("the command is not run")


async def test_store_knows_every_shard(redis_url: str) -> None:
    async with open_store(Settings(redis_url=redis_url, relay_shards=3, relay_key_prefix="ours")) as redis:
        assert [shard.key.inbox for shard in Shards.from_home(redis).all] == [
            "ours:inbox",
            "ours/1:inbox",
            "ours/2:inbox",
        ]
    async with open_store(Settings(redis_url=redis_url)) as redis:
        assert redis.others == ()
