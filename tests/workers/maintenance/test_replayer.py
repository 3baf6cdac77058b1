"""Replays of a topic's history: at their rate, behind new events, and complete although workers die."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.core.event_filter import EventFilter
from relay.store import wakeups
from relay.store.driver.lease import acquire_lease
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from relay.store.topics.replays import Replays, State
from tests.support import KEYS, TIMEOUT, eventually
from tests.workers.conftest import rules_for
from tests.workers.delivering import delivering, feed, ledger_of, now_ms
from tests.workers.maintenance.replaying import REPLAY_STREAM, TIMINGS, add, has, replaying, sent, start, state_of
from workers.maintenance.replayer import Replayer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink


@pytest.fixture(autouse=True)
async def _history(redis: Redis) -> None:
    """Fill a topic that bot does not read with twenty events."""
    for n in range(20):
        await add(redis, f"e{n:02}", "message.received" if n % 2 else "reaction.added")


async def test_replayed_events_reach_the_subscriber_marked_as_replay(
    redis: Redis, rules: ConfigFile, sink: Sink
) -> None:
    replay = await start(redis)
    async with delivering(redis, rules), replaying(redis, rules):
        await eventually(lambda: len(sink.ids("/bot")) == 20)
        await eventually(lambda: has(redis, replay, State.DONE))
    posts = [post for post in sink.received if post.path == "/bot"]
    assert sorted(post.headers["webhook-id"] for post in posts) == [f"e{n:02}" for n in range(20)]
    assert {(post.headers["relay-topic"], post.headers["relay-replay"]) for post in posts} == {("everything", "true")}
    ended = await state_of(redis, replay)
    assert (ended.seen, ended.sent, ended.missed, ended.reason) == (20, 20, 0, "")
    row = await ledger_of(redis, "bot")
    assert (row.routed, row.replayed, row.from_history, row.delivered, row.balances) == (0, 20, 20, 20, True)


async def test_only_matching_events_are_replayed(redis: Redis, rules: ConfigFile) -> None:
    replay = await start(redis, history_filter=EventFilter("message.*"))
    await add(redis, "later")
    async with replaying(redis, rules, page=3):
        await eventually(lambda: has(redis, replay, State.DONE))
    assert await sent(redis) == [f"e{n:02}" for n in range(1, 20, 2)]
    assert (await state_of(redis, replay)).seen == 20


async def test_next_worker_continues_a_replay_after_a_kill(redis: Redis, rules: ConfigFile) -> None:
    replay = await start(redis)
    kills = 0
    while await has(redis, replay, State.RUNNING):
        async with replaying(redis, rules, replace(TIMINGS, replay_pause=0.01), page=2) as task:
            await asyncio.sleep(0.003 * (kills % 8))
            kills += 1
            task.cancel()
    assert kills > 3
    assert await sent(redis) == [f"e{n:02}" for n in range(20)]


async def test_stop_ends_the_drain_at_once_and_keeps_the_position(redis: Redis, rules: ConfigFile) -> None:
    replay, stop = await start(redis, rate=5), asyncio.Event()
    async with acquire_lease(redis, wakeups.replay(KEYS).job_id) as lease, asyncio.timeout(TIMEOUT):
        task = asyncio.create_task(
            Replayer(redis, rules, time.time, replace(TIMINGS, replay_tick=60.0)).drain(lease, stop)
        )
        await eventually(lambda: redis.xlen(REPLAY_STREAM))
        stop.set()
        await task
    kept = await state_of(redis, replay)
    assert (kept.state, kept.sent, kept.seen) == (State.RUNNING, 5, 5)


async def test_drain_ends_after_its_run_for_another_worker(redis: Redis, rules: ConfigFile) -> None:
    await start(redis, rate=1)
    async with acquire_lease(redis, wakeups.replay(KEYS).job_id) as lease, asyncio.timeout(TIMEOUT):
        await Replayer(redis, rules, time.time, replace(TIMINGS, run=0.05)).drain(lease, asyncio.Event())


async def test_replay_keeps_its_rate(redis: Redis, rules: ConfigFile) -> None:
    await start(redis, rate=4)
    async with replaying(redis, rules):
        began = time.monotonic()
        await eventually(lambda: redis.xlen(REPLAY_STREAM))
        count = await redis.xlen(REPLAY_STREAM)  # the events of a second at once, then one in 250 ms
        assert 4 <= count <= 4 + 4 * (time.monotonic() - began)
        await eventually(lambda: _is_at_least(redis, 6))
        assert time.monotonic() - began > 0.4


async def _is_at_least(redis: Redis, count: int) -> bool:
    return int(await redis.xlen(REPLAY_STREAM)) >= count


async def test_waiting_replayed_events_are_bounded(redis: Redis, rules: ConfigFile, sink: Sink) -> None:
    most, watching = 0, True

    async def watch() -> None:
        nonlocal most
        while watching:
            most = max(most, await redis.xlen(REPLAY_STREAM))

    watcher = asyncio.create_task(watch())
    replay = await start(redis)
    async with replaying(redis, rules, max_waiting=5):
        await eventually(lambda: _is_at_least(redis, 5))
        await asyncio.sleep(0.05)
        assert await sent(redis) == [f"e{n:02}" for n in range(5)]
        async with delivering(redis, rules):
            await eventually(lambda: len(sink.ids("/bot")) == 20)
        await eventually(lambda: has(redis, replay, State.DONE))
    watching = False
    await watcher
    assert most == 5


async def test_new_events_go_before_replayed_ones(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, bot="concurrency = 1"))
    rules.reload()
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    released = asyncio.Semaphore(0)

    async def answer(received: Received) -> web.Response:
        if received.path == "/bot":
            await released.acquire()
        return web.Response()

    sink.answer = answer
    replay = await start(redis)
    async with replaying(redis, rules), delivering(redis, rules):
        await eventually(lambda: has(redis, replay, State.DONE))
        await eventually(lambda: len(sink.ids("/bot")) == 1)
        await feed(redis, lane, "live1", "live2")
        for _ in range(22):
            released.release()
        await eventually(lambda: len(sink.ids("/bot")) == 22)
    order = sink.ids("/bot")
    assert max(order.index("live1"), order.index("live2")) <= 4
    assert order[-1] == "e19"


async def test_cancelled_replay_sends_nothing_more(redis: Redis, rules: ConfigFile) -> None:
    replay = await start(redis, rate=5)
    async with replaying(redis, rules):
        await eventually(lambda: redis.xlen(REPLAY_STREAM))
        assert await Replays(redis).end(replay.id, State.CANCELLED, "by ann", now_ms())
        await asyncio.sleep(0.02)
        before = await sent(redis)
        await asyncio.sleep(0.3)
        assert await sent(redis) == before


@pytest.mark.parametrize("how", ["an operator", "relay.toml", "the breaker"])
async def test_replay_waits_while_its_lane_is_suspended(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink, how: str
) -> None:
    suspensions = Suspensions(redis)
    match how:
        case "an operator":
            await suspensions.pause("bot", "maintenance", 1)
        case "relay.toml":
            rules_file.write_text(rules_for(sink, bot="paused = true"))
            rules.reload()
        case _:
            await suspensions.save_open_breaker("bot", OpenBreaker(now_ms(), now_ms() + 60_000, 1, "down"))
    replay = await start(redis)
    async with replaying(redis, rules):
        await asyncio.sleep(0.1)
        assert await sent(redis) == []
        await suspensions.resume("bot")
        await suspensions.save_open_breaker("bot", None)
        rules_file.write_text(rules_for(sink))
        rules.reload()
        await eventually(lambda: has(redis, replay, State.DONE))
    assert len(await sent(redis)) == 20


async def test_replay_fails_when_its_subscription_is_removed(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    replay = await start(redis, rate=5)
    with capture_logs() as logs:
        async with replaying(redis, rules):
            await eventually(lambda: redis.xlen(REPLAY_STREAM))
            rules_file.write_text(rules_for(sink).replace('name = "bot"', 'name = "successor"'))
            rules.reload()
            await eventually(lambda: has(redis, replay, State.FAILED))
    failed = await state_of(redis, replay)
    assert failed.reason == 'subscription "bot" is not in relay.toml any more'
    (line,) = [line for line in logs if line["event"] == "replay.ended"]
    assert (line["log_level"], line["replay"], line["state"]) == ("error", replay.id, "failed")


async def test_replay_reports_events_that_were_trimmed_before_it(redis: Redis, rules: ConfigFile) -> None:
    replay = await start(redis, rate=2)
    async with replaying(redis, rules):
        await eventually(lambda: redis.xlen(REPLAY_STREAM))
        await redis.xtrim(KEYS.topic("everything"), maxlen=1, approximate=False)
        await eventually(lambda: has(redis, replay, State.DONE))
    ended = await state_of(redis, replay)
    assert ended.missed == 20 - ended.sent
    assert ended.reason == f"{ended.missed} events were trimmed from the topic before they were replayed"


async def test_replay_with_a_bug_fails_and_blocks_no_other(
    redis: Redis, rules: ConfigFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await start(redis, history_filter=EventFilter("message.*")), await start(redis, to="crm")
    matches = EventFilter.matches

    def breaks(history_filter: EventFilter, candidate: Any) -> bool:
        if history_filter == bad.order.event_filter:
            raise ZeroDivisionError
        return matches(history_filter, candidate)

    monkeypatch.setattr(EventFilter, "matches", breaks)
    with capture_logs() as logs:
        async with replaying(redis, rules):
            await eventually(lambda: has(redis, good, State.DONE))
            await eventually(lambda: has(redis, bad, State.FAILED))
    assert "ZeroDivisionError" in (await state_of(redis, bad)).reason
    assert "replay.error" in [line["event"] for line in logs]


async def test_replays_run_side_by_side_each_at_its_rate(redis: Redis, rules: ConfigFile) -> None:
    slow, fast = await start(redis, rate=1), await start(redis, to="crm")
    async with replaying(redis, rules):
        await eventually(lambda: has(redis, fast, State.DONE))
        assert await has(redis, slow, State.RUNNING)
    assert _ids(await redis.xrange(KEYS.lane("crm", "replay"))) == [f"e{n:02}" for n in range(20)]


def _ids(rows: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[str]:
    return [fields[b"id"].decode() for _, fields in rows]
