"""The number of unread events when Redis's own (`lag`) is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.delivery.outcome import Attempt, Delivered, Outcome
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.lanes.audit import audit_lane
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settlement, Settler
from relay.store.ledger.ledger import LaneLedger, Ledger
from relay.store.topics.topics import GroupState, topic_states
from tests.redis_server import RedisServer
from tests.support import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
EVENTS, READ = 50, 30


async def deliver_some(redis: Redis) -> Lane:
    """Deliver some of a topic's events, and read as many in a pull group."""
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    await redis.xgroup_create(STREAM, "billing", "0")
    for number in range(EVENTS):
        await redis.xadd(STREAM, {"id": str(number), "body": "{}"})
    attempt = Attempt(Outcome.DELIVERED, at_ms=1, took_ms=1, status=200)
    async with Settler(redis, "job", "me") as settler:
        for _ in range(3):
            for delivery in await lane.read_new(READ // 3):
                await settler.settle(Settlement(lane, delivery, attempt, Tries(1, 1, "x"), Delivered(), 1))
            await redis.xreadgroup("billing", "m", {STREAM: ">"}, count=READ // 3)
    return lane


async def lags(redis: Redis) -> list[int]:
    return [row["lag"] for row in await redis.xinfo_groups(STREAM)]


async def assert_counts(redis: Redis, unread: int) -> None:
    [row] = await Ledger(redis).lanes()
    assert row == LaneLedger("bot", EVENTS, delivered=READ, waiting=unread, retrying=0, dead=0, replayed=0)
    assert row.balances
    [topic] = await topic_states(redis, ["support"])
    bot = GroupState("bot", is_push=True, lag=unread, pending=0)
    assert topic.groups == (GroupState("billing", is_push=False, lag=unread, pending=READ), bot)


@pytest.mark.parametrize("entries_read", [0, 10, EVENTS])
async def test_false_entries_read_is_counted_and_repaired(redis: Redis, entries_read: int) -> None:
    await deliver_some(redis)
    for row in await redis.xinfo_groups(STREAM):
        await redis.xgroup_setid(STREAM, row["name"], row["last-delivered-id"], entries_read=entries_read)
    assert await lags(redis) == [EVENTS - entries_read] * 2
    await assert_counts(redis, EVENTS - READ)
    assert not await audit_lane(redis, "bot", is_configured=True)
    assert await lags(redis) == [EVENTS - entries_read, EVENTS - READ]


@pytest.mark.parametrize("most", [0, 5, 1000])
async def test_audit_counts_a_long_backlog_in_steps(redis: Redis, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr("relay.store.lanes.audit._MAX_COUNTED", most)
    lane = await deliver_some(redis)
    await lane.save_checkpoint()
    await redis.xgroup_setid(STREAM, lane.group, await lane_position(redis, lane), entries_read=3)
    assert not await audit_lane(redis, "bot", is_configured=True)
    assert (await lags(redis))[1] == EVENTS - READ
    await lane.read_new(10)
    await redis.xgroup_delconsumer(STREAM, lane.group, keys.CONSUMER)
    assert await audit_lane(redis, "bot", is_configured=True)
    await assert_counts(redis, EVENTS - READ)


async def lane_position(redis: Redis, lane: Lane) -> str:
    rows = await redis.xinfo_groups(STREAM)
    [entry] = [row["last-delivered-id"].decode() for row in rows if row["name"] == lane.group.encode()]
    return str(entry)


@pytest.mark.needs_tool("redis-server")
async def test_counts_survive_a_rewritten_append_only_file(tmp_path: Path) -> None:
    """Redis 7.0 loads a group's `entries-read` of the time of the rewrite."""
    server = RedisServer(tmp_path / "redis")
    await server.start()
    try:
        async with server.client() as redis:
            lane = Lane(redis, "bot", "support")
            await lane.ensure()
            await ask(redis.bgrewriteaof())  # type: ignore[no-untyped-call]
            while (await redis.info("persistence"))["aof_rewrite_in_progress"]:
                pass
            await deliver_some(redis)
        await server.stop()
        await server.start()
        async with server.client() as redis:
            await assert_counts(redis, EVENTS - READ)
            assert not await audit_lane(redis, "bot", is_configured=True)
            assert (await lags(redis))[1] == EVENTS - READ
            await assert_counts(redis, EVENTS - READ)
    finally:
        await server.stop()
