"""The number of shards is that of the first start, and a process with another number refuses to start."""

from __future__ import annotations

import pytest

from relay.config.settings import Settings
from relay.core.errors import SettingsError
from relay.parts import open_store
from relay.store.driver.client import REQUEST_TIMEOUT, Redis, ask
from relay.store.sharding.number import check_number_of_shards, require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards
from tests.support import reserve_port


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


async def test_redis_that_is_away_is_no_reason_to_refuse() -> None:
    async with open_shards(f"redis://127.0.0.1:{reserve_port()}", REQUEST_TIMEOUT, count=2) as shards:
        await check_number_of_shards(shards.home)


def test_several_shards_are_refused_with_what_is_missing() -> None:
    with pytest.raises(ValueError, match="only 1 can be used yet: these parts know one shard: "):
        Settings(relay_shards=2)


async def test_store_knows_every_shard(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_TEST_SHARDS", "yes")
    async with open_store(Settings(redis_url=redis_url, relay_shards=3, relay_key_prefix="ours")) as redis:
        assert [shard.key.inbox for shard in Shards.from_home(redis).all] == [
            "ours:inbox",
            "ours/1:inbox",
            "ours/2:inbox",
        ]
    async with open_store(Settings(redis_url=redis_url)) as redis:
        assert redis.others == ()
