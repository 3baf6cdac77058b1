from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.delivery.outcome import Delivered
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.ledger.ledger import Ledger
from relay.store.topics import retention
from relay.store.topics.retention import Bounds, Trimmed, trim_topic
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery
    from relay.store.ledger.ledger import LaneLedger

STREAM = KEYS.topic("support")
NOW = 1_000_000
ANY = 2**60


async def feed(redis: Redis, *at_ms: int) -> None:
    for at in at_ms:
        await redis.xadd(STREAM, {"id": f"e{at}", "at": str(at), "body": "x" * 1000}, id=f"{at}-*")


async def trim(redis: Redis, age: float | None = None, most: float | None = None, hard: float | None = None) -> Trimmed:
    """Trim to an age in seconds or to numbers of entries."""
    each = (await redis.memory_usage(STREAM) or 0) / max(await redis.xlen(STREAM), 1)
    sizes = [ANY if number is None else round(number * each + 1) for number in (most, hard)]
    return await trim_topic(redis, "support", Bounds(ANY if age is None else age, *sizes), NOW)


async def left(redis: Redis) -> list[int]:
    return [int(entry.split(b"-")[0]) for entry, _ in await redis.xrange(STREAM)]


async def settle(redis: Redis, lane: Lane, *deliveries: Delivery) -> None:
    async with Settler(redis, "job", "me") as settler:
        for delivery in deliveries:
            await settler.settle(Settlement(lane, delivery, None, Tries(), Delivered(), 1))


async def row(redis: Redis) -> LaneLedger:
    [row] = await Ledger(redis).lanes()
    assert row.balances
    return row


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    """A push lane of the topic."""
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    return lane


async def test_missing_topic_is_no_error(redis: Redis) -> None:
    assert await trim(redis, age=1.0) == Trimmed()


async def test_unread_entries_expire_by_age(redis: Redis) -> None:
    await feed(redis, 900_000, 989_999, 990_000, 999_999)
    assert (await trim(redis, age=10.0)).removed == 2
    assert await left(redis) == [990_000, 999_999]
    assert (await trim(redis, age=10.0)).removed == 0


async def test_unread_entries_expire_by_size(redis: Redis) -> None:
    await feed(redis, *range(1, 101))
    trimmed = await trim(redis, most=30)
    assert (trimmed.removed, trimmed.needed, trimmed.needed_by) == (70, 0, "")
    assert await left(redis) == [*range(71, 101)]


async def test_entries_within_the_limits_are_kept(redis: Redis) -> None:
    await feed(redis, 1, 2, 3)
    assert (await trim(redis)).removed == 0


async def test_unsettled_entries_of_a_lane_are_kept(redis: Redis, lane: Lane) -> None:
    await feed(redis, *range(1, 11))
    first, second, third, *_ = await lane.read_new(5)
    await settle(redis, lane, first, third)
    trimmed = await trim(redis, age=1.0)
    assert (trimmed.removed, trimmed.needed_by) == (1, "push:bot")
    await settle(redis, lane, second)
    await trim(redis, age=1.0)
    assert await left(redis) == [*range(4, 11)]
    while rest := [*await lane.fetch(await lane.orphans()), *await lane.read_new(10)]:
        await settle(redis, lane, *rest)
    assert (await trim(redis, age=1.0)).needed_by == ""
    assert await left(redis) == []
    assert (await row(redis)).delivered == 10


async def test_unacknowledged_entries_of_a_pull_group_are_kept(redis: Redis) -> None:
    await feed(redis, *range(1, 11))
    await redis.xgroup_create(STREAM, "billing", id="0")
    assert (await trim(redis, age=1.0, most=1)).needed_by == "billing"
    [[_, rows]] = await redis.xreadgroup("billing", "me", {STREAM: ">"}, count=4)
    await redis.xack(STREAM, "billing", *(entry for entry, _ in rows[:3]))
    await trim(redis, age=1.0)
    assert await left(redis) == [*range(4, 11)]
    await redis.xgroup_destroy(STREAM, "billing")
    await trim(redis, age=1.0)
    assert await left(redis) == []


@pytest.mark.usefixtures("lane")
async def test_lane_that_left_the_topic_needs_only_owed_entries(redis: Redis) -> None:
    await feed(redis, 1, 2)
    moved = Lane(redis, "bot", "elsewhere")
    await moved.ensure()
    await feed(redis, 3, 4)
    assert (await trim(redis, age=1.0)).needed_by == "push:bot"
    await settle(redis, moved, *await moved.read_new(10))
    await trim(redis, age=1.0)
    assert await left(redis) == []
    assert (await row(redis)).delivered == 2


async def test_hard_cap_drops_the_oldest_and_the_lane_counts_losses(redis: Redis, lane: Lane) -> None:
    await feed(redis, *range(1, 11))
    read = await lane.read_new(2)
    await feed(redis, *range(11, 51))
    trimmed = await trim(redis, most=10, hard=30)
    assert (trimmed.removed, trimmed.needed, trimmed.entries) == (20, 20, 30)
    assert await left(redis) == [*range(21, 51)]
    before = await row(redis)
    assert (before.routed, before.lost, before.waiting) == (50, 18, 32)
    gone = await lane.fetch([delivery.ref for delivery in read])
    assert [delivery.fields for delivery in gone] == [{}, {}]  # the drain dead-letters them
    await settle(redis, lane, *gone, *await lane.read_new(50))
    after = await row(redis)
    assert (after.delivered, after.lost, after.waiting) == (32, 18, 0)


async def test_slow_pull_group_is_skipped_ahead(redis: Redis) -> None:
    await feed(redis, *range(1, 51))
    await redis.xgroup_create(STREAM, "billing", id="0")
    await trim(redis, most=10, hard=30)
    [group] = await redis.xinfo_groups(STREAM)
    assert (group["last-delivered-id"], group["lag"]) == (b"20-0", 30)


async def test_trimming_runs_in_steps(redis: Redis, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_STEP", 7)
    await feed(redis, *range(1, 101))
    assert (await trim(redis, most=10, hard=20)).needed == 80
    assert (await row(redis)).lost == 80
    await redis.xgroup_destroy(STREAM, lane.group)
    assert (await trim(redis, age=1.0)).removed == 20
