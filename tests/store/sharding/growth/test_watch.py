"""The placement that a process knows: it is put into force on all shards before the process places by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreUnavailable
from relay.core.sharding.placement import ShardKey
from relay.store.driver.client import REQUEST_TIMEOUT, ask
from relay.store.sharding.growth.fence import WrongNumberOfShards, fence_of
from relay.store.sharding.growth.state import decide, read_growth, read_placement
from relay.store.sharding.growth.watch import Placement, PlacementWatch, current_placement
from relay.store.sharding.shards import open_shards
from tests.support import Clock, eventually, reserve_port

if TYPE_CHECKING:
    from relay.store.sharding.shards import Shards

WINDOW = 60.0


async def numbers(shards: Shards) -> list[int | None]:
    """Return the number that each shard has."""
    fences = [await fence_of(shard) for shard in shards.all]
    return [None if fence is None else fence.shards for fence in fences]


async def decide_now(shards: Shards) -> None:
    growth = await read_growth(shards.home)
    assert growth is not None
    await decide(shards.home, growth, 2000)


async def test_placement_stays_until_the_target_is_decided(growing: Shards) -> None:
    async with PlacementWatch(growing.home, WINDOW, Clock(5.0), interval=0.01) as watch:
        assert watch.placement == Placement(2)
        assert await numbers(growing) == [2, 2, 2, 2]
        await decide_now(growing)
        await eventually(lambda: watch.placement != Placement(2))
        assert watch.placement == Placement(4, 2, 5000 + 60_000)
    assert await numbers(growing) == [4, 4, 4, 4]


async def test_process_that_comes_later_has_the_time_of_the_first(growing: Shards) -> None:
    await decide_now(growing)
    first = await current_placement(growing.home, 60_000, 5000)
    assert await current_placement(growing.home, 60_000, 9000) == first


async def test_number_that_a_shard_has_is_restored_on_the_first(growing: Shards) -> None:
    """A failover of the first shard has lost the decision, and the others are fenced already."""
    assert await current_placement(growing.home, 60_000, 5000, seen=4) == Placement(4, 2, 65_000)
    number, growth = await read_placement(growing.home)
    assert number == 4
    assert growth is not None
    assert growth.is_decided
    assert await numbers(growing) == [4, 4, 4, 4]


async def test_shard_that_has_lost_its_fence_gets_it_again(growing: Shards) -> None:
    """A failover of a shard, or a backup that was restored, has lost the last writes there."""
    await decide_now(growing)
    await current_placement(growing.home, 60_000, 5000)
    for shard in (growing.all[1], growing.all[3]):
        await ask(shard.hset(shard.key.counts, "placed_by", "2"))
    placement = await current_placement(growing.home, 60_000, 9000)
    assert await numbers(growing) == [4, 2, 4, 2]
    assert await current_placement(growing.home, 60_000, 9000, seen=2) == placement
    assert await numbers(growing) == [4, 4, 4, 4]


async def test_process_with_the_former_number_is_told_to_restart(growing: Shards, redis_url: str) -> None:
    async with (
        open_shards(redis_url, REQUEST_TIMEOUT, count=2) as former,
        PlacementWatch(former.home, WINDOW, Clock(5.0)) as watch,
    ):
        assert watch.placement == Placement(2)
        await decide_now(growing)
        with pytest.raises(WrongNumberOfShards, match="it is 2, but the relay has 4"):
            await watch.look()


async def test_placement_is_unknown_while_redis_is_away() -> None:
    async with (
        open_shards(f"redis://127.0.0.1:{reserve_port()}", REQUEST_TIMEOUT, count=2) as shards,
        PlacementWatch(shards.home, WINDOW, Clock(5.0)) as watch,
    ):
        assert watch.placement is None
        with pytest.raises(StoreUnavailable, match="did not tell the number of shards"):
            await watch.look()


async def test_event_that_moves_is_known_on_its_former_shard_until_the_window_ends(growing: Shards) -> None:
    await ask(growing.home.delete(growing.home.key.growth))
    placement = Placement(4, 2, 65_000)
    keys = [ShardKey("", f"chat-{number}") for number in range(100)]
    moved = [key for key in keys if placement.former_shard(key, placement.shard(key), 64_999) is not None]
    assert {placement.shard(key) for key in moved} == {2, 3}
    assert {placement.former_shard(key, placement.shard(key), 0) for key in moved} == {0, 1}
    assert all(placement.shard(key) < 2 for key in keys if key not in moved)
    assert all(placement.former_shard(key, placement.shard(key), 65_000) is None for key in moved)
