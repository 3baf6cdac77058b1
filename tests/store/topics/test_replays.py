"""Replays in Redis: they start, advance in atomic steps, and end once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.event_filter import EventFilter
from relay.store import wakeups
from relay.store.lanes.lane import Lane
from relay.store.ledger.ledger import Ledger
from relay.store.topics import replays as module
from relay.store.topics.history import History
from relay.store.topics.replays import Order, Replay, Replays, State
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
ORDER = Order("support", "bot", EventFilter("message.*", "+16465550123"), 12.5, "ann@host")


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    """The lane of a subscription to another topic; the topic to replay has four events."""
    lane = Lane(redis, "bot", "elsewhere")
    await lane.ensure()
    for n in range(1, 5):
        await redis.xadd(STREAM, {"id": f"e{n}", "type": "message.received", "body": b"\xff\x00"}, id=f"{n}-0")
    return lane


async def start(redis: Redis, order: Order = ORDER, now_ms: int = 77) -> Replay:
    history = History(redis, order.topic)
    return await Replays(redis).start(
        order, await history.survey(await history.span(None, None), EventFilter()), now_ms
    )


@pytest.mark.usefixtures("lane")
async def test_started_replay_is_stored_and_wakes_the_slow_queue(redis: Redis) -> None:
    replay = await start(redis)
    assert await Replays(redis).get(replay.id) == replay
    assert (replay.order, replay.events, replay.matching, replay.cursor) == (ORDER, 4, 4, "0-0")
    assert await Replays(redis).running() == await Replays(redis).all() == [replay]
    assert await redis.zrange(KEYS.slow_queue, 0, -1) == [wakeups.replay(KEYS).job_id.encode()]
    assert not await redis.exists(KEYS.queue)
    assert await redis.ttl(KEYS.replay(replay.id)) == -1


async def test_step_appends_to_the_lane_and_moves_the_cursor(redis: Redis, lane: Lane) -> None:
    replay, replays = await start(redis), Replays(redis)
    assert await replays.advance(replay, "3-0", 3, ["1-0", "3-0"], 5) == 2
    moved = await replays.get(replay.id)
    assert moved == replace(replay, cursor="3-0", seen=3, sent=2)
    assert moved is not None
    assert not moved.is_complete
    found = await lane.read_new(10)
    assert [(item.record.id, item.record.body, item.topic, item.is_replay) for item in found] == [
        ("e1", b"\xff\x00", "support", True),
        ("e3", b"\xff\x00", "support", True),
    ]
    assert await redis.zscore(KEYS.queue, wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id) == wakeups.NOW
    assert await redis.zscore(KEYS.ready(wakeups.partition_of("bot")), "bot") == 5


async def test_repeated_step_has_no_effect(redis: Redis, lane: Lane) -> None:
    replay, replays = await start(redis), Replays(redis)
    assert await replays.advance(replay, "2-0", 2, ["1-0", "2-0"], 5) == 2
    assert await replays.advance(replay, "2-0", 2, ["1-0", "2-0"], 5) == 0
    assert await redis.xlen(lane.replay_stream) == 2


async def test_entries_trimmed_meanwhile_are_missed(redis: Redis, lane: Lane) -> None:
    replay, replays = await start(redis), Replays(redis)
    await redis.xtrim(STREAM, minid="3-0", approximate=False)
    assert await replays.advance(replay, "4-0", 2, ["2-0", "3-0", "4-0"], 5) == 2
    moved = await replays.get(replay.id)
    assert moved is not None
    assert (moved.is_complete, moved.missed, await redis.xlen(lane.replay_stream)) == (True, 2, 2)


@pytest.mark.usefixtures("lane")
async def test_ledger_balances_with_replays_from_history(redis: Redis) -> None:
    replay = await start(redis)
    await Replays(redis).advance(replay, "4-0", 4, ["1-0", "2-0", "3-0", "4-0"], 5)
    (row,) = await Ledger(redis).lanes()
    assert (row.routed, row.replayed, row.from_history, row.waiting) == (0, 4, 4, 4)
    assert row.balances


@pytest.mark.usefixtures("lane")
async def test_replay_ends_once_and_is_kept_for_a_week(redis: Redis) -> None:
    replay, replays = await start(redis), Replays(redis)
    assert await replays.end(replay.id, State.CANCELLED, "by ann", 99)
    assert not await replays.end(replay.id, State.DONE, "", 100)
    ended = replace(replay, state=State.CANCELLED, reason="by ann", ended_ms=99)
    assert await replays.all() == [ended]
    assert await replays.running() == []
    assert 7 * 86400 - 60 < await redis.ttl(KEYS.replay(replay.id)) <= 7 * 86400
    assert await replays.advance(replay, "1-0", 1, ["1-0"], 5) == 0
    assert not await replays.end("unknown", State.DONE, "", 1)


@pytest.mark.usefixtures("lane")
async def test_latest_and_all_running_replays_are_kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    replays = Replays(redis)
    ids = [(await start(redis, now_ms=n)).id for n in range(5)]
    for replay_id in ids[1:]:
        await replays.end(replay_id, State.DONE, "", 9)
    assert [item.id for item in await replays.all()] == [ids[0], *ids[2:]]
    assert [item.id for item in await replays.running()] == ids[:1]
    await redis.delete(KEYS.replay(ids[0]), KEYS.replay(ids[2]))
    assert [item.id for item in await replays.all()] == ids[3:]
    assert await redis.exists(KEYS.replays_running)  # a look changes nothing
    assert await replays.running() == []
    assert not await redis.exists(KEYS.replays_running)
