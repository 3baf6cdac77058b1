"""The bound of the quarantine holds for all shards together, however its bodies are spread over them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from relay.config.file import ConfigFile
from relay.core.event import Dialect
from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from relay.store.inbox.quarantine import Quarantine
from relay.store.ledger.ledger import Ledger
from relay.store.sharding.shards import Shards, open_shards
from tests.support import reserve_port
from workers.maintenance.retention import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis

MOST = 400_000  # bytes
SIZE = 10_000  # of a body


@pytest.fixture
async def shards(redis: Redis, redis_url: str) -> AsyncIterator[Shards]:
    del redis  # its keys are deleted
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


async def fill(shard: Redis, count: int) -> None:
    for number in range(count):
        await Quarantine(shard).put(Dialect.V3, None, b"x" * SIZE, "odd", number)


async def trim(shards: Shards) -> list[int]:
    """Trim every shard; return how many bodies each has left."""
    for shard in shards.all:
        await Quarantine(shard).trim([other for other in shards.all if other is not shard], MOST)
    return [await shard.xlen(shard.key.quarantine) for shard in shards.all]


async def test_first_shard_may_use_what_the_others_do_not(shards: Shards) -> None:
    await fill(shards.home, 35)
    assert await trim(shards) == [35, 0, 0, 0]
    await fill(shards.home, 30)
    left = await trim(shards)
    assert 33 <= left[0] <= 40
    assert (await Ledger(shards.home).totals()).quarantine_dropped == 65 - left[0]


async def test_all_together_are_within_the_bound_and_each_has_its_share(shards: Shards) -> None:
    for shard in shards.all:
        await fill(shard, 30)
    await fill(shards.home, 30)
    left = await trim(shards)
    assert sum(left) <= 40
    assert min(left) >= 8
    newest = [[body.at async for body in Quarantine(shard).all()][-1] for shard in shards.all]
    assert newest == [29] * 4


async def test_retention_of_a_shard_counts_the_others(
    shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Quarantine.trim, "__defaults__", ((), MOST))
    for shard in shards.all[:2]:
        await fill(shard, 30)
    (tmp_path / "relay.toml").write_text("")
    rules = ConfigFile(tmp_path / "relay.toml")
    for shard in shards.all:
        await Retention(shard, rules, time.time, home=shards.home).trim()
    left = [await shard.xlen(shard.key.quarantine) for shard in shards.all[:2]]
    assert sum(left) <= 40
    assert min(left) >= 8


async def test_one_that_is_away_counts_with_its_share(shards: Shards) -> None:
    await fill(shards.home, 60)
    async with open_redis(f"redis://127.0.0.1:{reserve_port()}", 0.2) as away:
        assert await Quarantine(shards.home).trim([away], MOST) > 0
    assert 16 <= await shards.home.xlen(shards.home.key.quarantine) <= 20
