"""Recovery of deliveries: after kills, Redis outages, lost entries and a full Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.core.errors import StoreUnavailable
from relay.store import keys
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.many.read import LaneReads
from tests.building import webhook_of
from tests.support import eventually
from tests.workers.conftest import TIMINGS, Received, Sink, accept, rules_for
from tests.workers.delivering import delivering, feed, ledger_of, now_ms
from workers.delivery.lane_worker import LaneWorker

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery
    from relay.store.lanes.lane import Lane


async def read_unseen(redis: Redis, lane: Lane) -> None:
    """Make a delivery of the lane pending without its worker."""
    async with redis.pipeline() as pipe:  # in one step: the worker may read the lane at any time
        pipe.xadd(lane.topic_stream, {"id": "unknown", "at": now_ms(), "body": "{}"})
        pipe.xreadgroup(lane.group, keys.CONSUMER, {lane.topic_stream: ">"}, count=1)
        _, [[_, [_]]] = await pipe.execute()


async def test_unknown_pending_delivery_is_found_after_a_redis_outage(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "first")
        await eventually(lambda: sink.ids("/bot") == ["first"])
        await read_unseen(redis, lanes["bot"])  # as if Redis had forgotten that it was settled
        await redis.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: sink.ids("/bot") == ["first", "unknown"])


async def test_unknown_pending_delivery_is_found_by_count(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    async with delivering(redis, rules, timings=replace(TIMINGS, pending_count=0.02)):
        await feed(redis, lanes["bot"], "first")
        await eventually(lambda: sink.ids("/bot") == ["first"])
        await read_unseen(redis, lanes["bot"])
        await eventually(lambda: sink.ids("/bot") == ["first", "unknown"])


async def test_next_worker_delivers_what_a_killed_one_had_read(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    await feed(redis, lanes["bot"], "read", "unread")
    await lanes["bot"].read_new(1)
    async with delivering(redis, rules):
        await eventually(lambda: sorted(sink.ids("/bot")) == ["read", "unread"])


async def test_next_worker_makes_a_retry_that_was_waiting(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["300ms"]'))
    rules.reload()

    async def answer(received: Received) -> web.Response:
        return web.Response(status=500 if received.headers["relay-attempt"] == "1" else 200)

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")
        await eventually(lanes["bot"].next_due)
    assert len(sink.received) == 1
    async with delivering(redis, rules):
        await eventually(lambda: len(sink.received) == 2)
    assert sink.received[1].headers["relay-attempt"] == "2"


async def test_stop_finishes_deliveries_in_flight_and_leaves_the_rest(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, bot="concurrency = 5"))
    rules.reload()
    released = asyncio.Event()

    async def answer(_: Received) -> web.Response:
        await released.wait()
        return web.Response()

    sink.answer = answer
    await feed(redis, lanes["bot"], *map(str, range(20)))
    async with delivering(redis, rules) as stop:
        await eventually(lambda: len(sink.received) == 5)
        stop.set()
        released.set()
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.waiting, len(sink.received)) == (5, 15, 5)
    async with delivering(redis, rules):
        await eventually(lambda: len(sink.received) == 20)
    assert len(set(sink.ids())) == 20


async def test_trimmed_entry_is_dead_lettered(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    await feed(redis, lanes["bot"], "e1")
    await lanes["bot"].read_new(1)
    await redis.xtrim(lanes["bot"].topic_stream, maxlen=0, approximate=False)
    async with delivering(redis, rules):

        async def dead() -> bool:
            return (await ledger_of(redis, "bot")).dead == 1

        await eventually(dead)
    [letter] = [letter async for letter in DeadLetters(redis).of("bot")]
    assert letter.reason == "lost: the entry was deleted from its stream"
    assert sink.received == []


async def test_lane_continues_without_a_gap_after_its_group_was_destroyed(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")
        await eventually(lambda: sink.ids("/bot") == ["e1"])
        await redis.xgroup_destroy(lanes["bot"].topic_stream, lanes["bot"].group)
        await feed(redis, lanes["bot"], "e2")
        await eventually(lambda: "e2" in sink.ids("/bot"))


async def test_broken_redis_connections_lose_no_delivery(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    events = [str(number) for number in range(200)]
    async with delivering(redis, rules):
        for start in range(0, 200, 20):
            await feed(redis, lanes["bot"], *events[start : start + 20])
            await redis.client_kill_filter(_type="normal", skipme=True)

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 200

        await eventually(settled)
    assert set(sink.ids("/bot")) == set(events)


async def test_what_redis_has_forgotten_to_be_read_is_sent_once(
    redis: Redis,
    rules_file: Path,
    rules: ConfigFile,
    lanes: dict[str, Lane],
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A replica becomes the primary, and does not know of the last read: the events in it are read once more."""
    rules_file.write_text(rules_for(sink, bot="concurrency = 1"))
    rules.reload()
    released, resynced, resync = asyncio.Event(), asyncio.Event(), LaneWorker.resync

    async def answer(_: Received) -> web.Response:
        await released.wait()
        return web.Response()

    def noted(worker: LaneWorker) -> None:
        resync(worker)
        resynced.set()

    sink.answer = answer
    monkeypatch.setattr(LaneWorker, "resync", noted)
    events = [f"e{number}" for number in range(5)]
    await feed(redis, lanes["bot"], *events)
    before = [(key, await redis.dump(key)) async for key in redis.scan_iter("relay:*")]
    async with delivering(redis, rules, "bot"):
        await eventually(lambda: sink.ids() == ["e0"])
        for key, value in before:
            await redis.restore(key, 0, value, replace=True)

        async def is_noticed() -> bool:  # not if no connection was in use
            await redis.client_kill_filter(_type="normal", skipme=True)
            return resynced.is_set()

        await eventually(is_noticed)
        released.set()

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == len(events)

        await eventually(settled)
    counts = Counter(sink.ids())
    assert (set(counts), max(counts[event_id] for event_id in events[1:])) == (set(events), 1)


async def test_full_redis_accepts_no_event_and_delivers_what_it_has(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    events = [f"e{number}" for number in range(120)]
    fails = set(events[:3])

    async def answer(received: Received) -> web.Response:
        event_id = received.headers["webhook-id"]
        is_first = event_id in fails
        fails.discard(event_id)
        return web.Response(status=500 if is_first else 200)

    sink.answer = answer
    await feed(redis, lanes["bot"], *events)
    await redis.config_set("maxmemory", 1)
    try:
        async with delivering(redis, rules, "bot"):

            async def delivered() -> bool:
                return (await ledger_of(redis, "bot")).delivered == len(events)

            await eventually(delivered)
        with pytest.raises(StoreUnavailable):
            await accept(redis, webhook_of())
    finally:
        await redis.config_set("maxmemory", 0)
    assert sorted(sink.ids()) == sorted([*events, *events[:3]])
    assert (await ledger_of(redis, "bot")).balances


async def test_failed_lane_worker_is_logged_and_restarted(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_new, broken = LaneReads.read_new, ["bot"]

    async def breaks_once(reads: LaneReads, lane: Lane, count: int, room: int) -> list[Delivery]:
        if lane.name in broken:
            broken.remove(lane.name)
            raise ZeroDivisionError
        return await read_new(reads, lane, count, room)

    monkeypatch.setattr(LaneReads, "read_new", breaks_once)
    with capture_logs() as logs:
        async with delivering(redis, rules):
            await feed(redis, lanes["bot"], "e1")
            await eventually(lambda: sink.ids("/bot") == ["e1"])
    assert [line["subscription"] for line in logs if line["event"] == "lane.error"] == ["bot"]
