"""The record of a growth: each step is one write that does nothing the second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Conflict, SettingsError
from relay.store.driver.client import REQUEST_TIMEOUT
from relay.store.sharding.growth.state import (
    Phase,
    cancel,
    decide,
    note_growth,
    note_opened,
    note_time,
    opened_lanes,
    read_growth,
    read_placement,
)
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import open_shards

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.sharding.growth.state import Growth
    from relay.store.sharding.shards import Shards


async def start(url: str, count: int) -> None:
    async with open_shards(url, REQUEST_TIMEOUT, count=count) as shards:
        await require_number_of_shards(shards.home)


async def growth_of(home: Redis) -> Growth:
    growth = await read_growth(home)
    assert growth is not None
    return growth


async def test_process_with_the_target_may_start_once_it_is_noted(shards: Shards, redis_url: str) -> None:
    with pytest.raises(SettingsError, match="it is 4, but the relay has 2"):
        await start(redis_url, 4)
    await note_growth(shards.home, 2, 4, 1000)
    await start(redis_url, 4)
    await start(redis_url, 2)
    with pytest.raises(SettingsError, match="it is 3, but the relay has 2"):
        await start(redis_url, 3)
    assert await read_placement(shards.home) == (2, await growth_of(shards.home))
    await decide(shards.home, await growth_of(shards.home), 2000)
    await start(redis_url, 4)
    with pytest.raises(SettingsError, match="it is 2, but the relay has 4"):
        await start(redis_url, 2)


async def test_steps_are_repeated_without_effect(growing: Shards) -> None:
    home = growing.home
    await note_growth(home, 2, 4, 5000)
    growth = await growth_of(home)
    assert (growth.former, growth.target, growth.noted_ms, growth.phase) == (2, 4, 1000, Phase.NOTED)
    await decide(home, growth, 2000)
    await decide(home, growth, 9000)
    assert (await read_placement(home))[0] == 4
    growth = await growth_of(home)
    assert (growth.decided_ms, growth.phase, growth.dedupes_until_ms(60)) == (2000, Phase.DECIDED, None)
    await note_time(home, "advanced", 3000)
    await note_time(home, "advanced", 9000)
    growth = await growth_of(home)
    assert (growth.phase, growth.dedupes_until_ms(60)) == (Phase.ADVANCED, 3060)
    await note_opened(home, "bot", 4000)
    assert await opened_lanes(home) == {"bot"}


async def test_one_growth_at_a_time(growing: Shards) -> None:
    home = growing.home
    with pytest.raises(Conflict):
        await note_growth(home, 2, 8, 2000)
    with pytest.raises(Conflict):
        await note_growth(home, 4, 8, 2000)
    growth = await growth_of(home)
    await decide(home, growth, 2000)
    await note_opened(home, "bot", 3000)
    await note_time(home, "done", 4000)
    await note_growth(home, 4, 8, 5000)
    assert await opened_lanes(home) == set()
    with pytest.raises(Conflict):
        await decide(home, growth, 6000)
    assert (await read_placement(home))[0] == 4


async def test_growth_can_be_given_up_until_it_is_decided(growing: Shards) -> None:
    home = growing.home
    assert await cancel(home) is True
    assert await read_growth(home) is None
    assert await cancel(home) is False
    await note_growth(home, 2, 4, 1000)
    await decide(home, await growth_of(home), 2000)
    assert await cancel(home) is False


async def test_record_that_is_not_readable_is_none(shards: Shards) -> None:
    await shards.home.hset(shards.home.key.growth, "target", "4")  # type: ignore[misc]
    assert await read_growth(shards.home) is None
