"""A lane and its ledger after an operator deletes its consumer group or its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.delivery.outcome import Attempt, DeadLettered, Delivered, Outcome, RetryAt
from relay.store import keys
from relay.store.lanes.audit import audit_lane
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.ledger.ledger import LaneLedger, Ledger
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.core.delivery.outcome import Verdict
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery

STREAM = "relay:topic:support"
ATTEMPT = Attempt(Outcome.DELIVERED, at_ms=1, took_ms=1, status=200)


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    """A lane of a topic that had entries before."""
    await feed(redis, "before")
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    return lane


async def feed(redis: Redis, *ids: str, stream: str = STREAM) -> None:
    for event_id in ids:
        await redis.xadd(stream, {"id": event_id, "body": "{}"})


async def settle(redis: Redis, lane: Lane, delivery: Delivery, verdict: Verdict | None = None) -> None:
    async with Settler(redis, "job", "me") as settler:
        await settler.settle(Settlement(lane, delivery, ATTEMPT, Tries(1, 1, "x"), verdict or Delivered(), 1))


async def row(redis: Redis) -> LaneLedger:
    [row] = await Ledger(redis).lanes()
    return row


async def ids(lane: Lane) -> list[str]:
    return [delivery.record.id for delivery in await lane.read_new(100)]


async def test_redeliveries_after_a_lost_group_are_counted(redis: Redis, lane: Lane) -> None:
    await feed(redis, *"abcdef")
    a, b, c, d, _e = await lane.read_new(5)
    await settle(redis, lane, a)
    await lane.save_checkpoint()
    await settle(redis, lane, c)
    await settle(redis, lane, d, DeadLettered("x"))
    await settle(redis, lane, b, RetryAt(due_ms=9))
    assert await row(redis) == LaneLedger("bot", 6, delivered=2, waiting=2, retrying=1, dead=1, replayed=0)

    await redis.xgroup_destroy(STREAM, lane.group)
    assert await ids(lane) == ["b", "c", "d", "e", "f"]
    after = await row(redis)
    assert after == LaneLedger("bot", 6, delivered=2, waiting=5, retrying=0, dead=1, replayed=0, repeated=2)
    assert after.balances


async def test_ledger_balances_after_two_lost_groups(redis: Redis, lane: Lane) -> None:
    for _ in range(2):
        await feed(redis, "a", "b")
        for delivery in await lane.read_new(100):
            await settle(redis, lane, delivery)
        await redis.xgroup_destroy(STREAM, lane.group)
        await lane.ensure()
        assert (await row(redis)).balances
    assert (await row(redis)).repeated == 2 + 4  # the checkpoint was never saved, so all are delivered again


async def test_entries_deleted_with_the_topic_are_counted_as_lost(redis: Redis, lane: Lane) -> None:
    await feed(redis, *"abc")
    a, *_ = await lane.read_new(2)
    await settle(redis, lane, a)
    await lane.save_checkpoint()
    await redis.delete(STREAM)
    await feed(redis, "d")
    assert await ids(lane) == ["d"]
    assert await row(redis) == LaneLedger("bot", 4, delivered=1, waiting=1, retrying=0, dead=0, replayed=0, lost=2)
    assert (await row(redis)).balances


async def test_deleting_a_settled_topic_loses_nothing(redis: Redis, lane: Lane) -> None:
    await feed(redis, *"abc")
    for delivery in await lane.read_new(10):
        await settle(redis, lane, delivery)
    await lane.save_checkpoint()
    await redis.delete(STREAM)
    assert (await row(redis)).balances  # even before the lane's worker noticed
    await lane.ensure()
    await feed(redis, "d")
    assert await ids(lane) == ["d"]
    assert await row(redis) == LaneLedger("bot", 4, delivered=3, waiting=1, retrying=0, dead=0, replayed=0)


async def test_retries_of_replays_outlive_the_group_of_the_topic(redis: Redis, lane: Lane) -> None:
    await feed(redis, "a", "b")
    a, b = await lane.read_new(2)
    await settle(redis, lane, a, DeadLettered("x"))
    await settle(redis, lane, b, RetryAt(due_ms=9))
    letters = DeadLetters(redis)
    await letters.replay("bot", [letter.record.entry async for letter in letters.of("bot")], 1)
    [again] = await lane.read_new(10)
    await settle(redis, lane, again, RetryAt(due_ms=5))
    await redis.xgroup_destroy(STREAM, lane.group)
    await lane.ensure()
    assert await redis.zrange(KEYS.lane("bot", "retries"), 0, -1) == [str(again.ref).encode()]
    assert (await row(redis)).balances


async def test_absent_subscription_keeps_its_position(redis: Redis, lane: Lane) -> None:
    await feed(redis, "a")  # without a worker meanwhile
    assert await row(redis) == LaneLedger("bot", 1, delivered=0, waiting=1, retrying=0, dead=0, replayed=0)
    await lane.ensure()
    assert await ids(lane) == ["a"]


async def test_lane_that_changes_topic_keeps_only_owed_deliveries(redis: Redis, lane: Lane) -> None:
    await feed(redis, "a", "b", "c", "d")
    a, b = await lane.read_new(2)
    await settle(redis, lane, a)
    await feed(redis, "history", stream=KEYS.topic("other"))
    moved = Lane(redis, "bot", "other")
    await moved.ensure()
    await feed(redis, "e", stream=KEYS.topic("other"))
    await feed(redis, "after it left")

    assert await moved.has_new()
    assert await moved.orphans() == [b.ref]
    assert await moved.in_hand() == 1
    assert await row(redis) == LaneLedger("bot", 5, delivered=1, waiting=4, retrying=0, dead=0, replayed=0)
    found = await moved.read_new(1) + await moved.read_new(10)
    assert [(delivery.record.id, delivery.topic) for delivery in found] == [
        ("c", "support"),
        ("e", "other"),
        ("d", "support"),
    ]
    assert not await moved.has_new()
    for delivery in (*found, b):
        await settle(redis, moved, delivery)
    assert await moved.read_new(10) == []
    assert await moved.in_hand() == 0
    assert await row(redis) == LaneLedger("bot", 5, delivered=5, waiting=0, retrying=0, dead=0, replayed=0)


async def test_returning_lane_resumes_at_its_position(redis: Redis, lane: Lane) -> None:
    await Lane(redis, "bot", "other").ensure()
    await feed(redis, "meanwhile")
    await lane.ensure()
    assert await ids(lane) == ["meanwhile"]
    assert (await row(redis)).balances
    assert not await redis.hexists("relay:lane:bot", f"left:{STREAM}")  # type: ignore[misc]


@pytest.mark.usefixtures("lane")
async def test_deleting_a_left_topic_is_no_error(redis: Redis) -> None:
    await redis.delete(STREAM)
    moved = Lane(redis, "bot", "other")
    await moved.ensure()
    await feed(redis, "a", stream=KEYS.topic("other"))
    assert await moved.has_new()
    assert await ids(moved) == ["a"]
    assert [ref.stream for ref in await moved.orphans()] == [KEYS.topic("other")]
    assert await moved.in_hand() == 1
    assert (await row(redis)).balances


async def test_checkpoint_does_not_pass_what_was_deleted(redis: Redis, lane: Lane) -> None:
    await feed(redis, *"abcd")
    a, *_ = await lane.read_new(3)
    await settle(redis, lane, a)
    await lane.save_checkpoint()
    await redis.xgroup_delconsumer(STREAM, lane.group, keys.CONSUMER)
    await lane.save_checkpoint()  # of a sweep that had audited the lane before the deletion
    await audit_lane(redis, "bot", is_configured=True)
    assert await ids(lane) == ["b", "c", "d"]
    after = await row(redis)
    assert after == LaneLedger("bot", 4, delivered=1, waiting=3, retrying=0, dead=0, replayed=0)


async def test_checkpoint_without_a_group_is_unchanged(redis: Redis, lane: Lane) -> None:
    before = await redis.hgetall("relay:lane:bot")  # type: ignore[misc]
    await redis.xgroup_destroy(STREAM, lane.group)
    await lane.save_checkpoint()
    assert await redis.hgetall("relay:lane:bot") == before  # type: ignore[misc]
