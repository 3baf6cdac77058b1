"""A lane that is paused, broken or changed while it reads: what it has read waits."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.core.delivery.circuit_breaker import Limits
from relay.store.lanes.lane import Lane
from relay.store.lanes.many.look import look_at_lanes
from relay.store.lanes.many.read import LaneReads
from relay.store.lanes.suspensions import Suspensions
from tests.support import eventually
from tests.workers.conftest import TIMINGS, Received, Sink, rules_for
from tests.workers.delivering import delivering, feed
from workers.delivery import lane_workers
from workers.delivery.lane_worker import LaneWorker
from workers.delivery.lane_workers import LaneWorkers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery

LIMITS = Limits(first_wait=60)
EARLY = [f"early{number}" for number in range(LIMITS.run)]


class HeldReads:
    """Reads of a lane that are held, once they have found an event named late."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found = asyncio.Event()
        self.released = asyncio.Event()
        read_new = LaneReads.read_new

        async def read(reads: LaneReads, lane: Lane, count: int, max_total: int) -> list[Delivery]:
            deliveries = await read_new(reads, lane, count, max_total)
            if any(delivery.record.id.startswith("late") for delivery in deliveries):
                self.found.set()
                await self.released.wait()
            return deliveries

        monkeypatch.setattr(LaneReads, "read_new", read)


@contextmanager
def set_at_the_end(*events: asyncio.Event) -> Iterator[None]:
    """Set the events, also after a failure: whatever waits for them ends."""
    try:
        yield
    finally:
        for event in events:
            event.set()


@pytest.mark.parametrize("change", ["paused", "broken", "moved"])
async def test_what_was_read_heeds_a_change_made_meanwhile(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    reads, is_answering, ended = HeldReads(monkeypatch), asyncio.Event(), asyncio.Event()

    async def answer(received: Received) -> web.Response:
        if not received.headers["webhook-id"].startswith("early"):
            return web.Response()
        await is_answering.wait()
        return web.Response(status=503 if change == "broken" else 200)

    def end(worker: LaneWorker) -> None:
        worker_end(worker)
        ended.set()

    worker_end = LaneWorker.end
    monkeypatch.setattr(LaneWorker, "end", end)
    sink.answer = answer
    bot = Lane(redis, "bot", "messages")
    await bot.ensure()
    with capture_logs() as logs:
        async with delivering(redis, rules, "bot", breaker_limits=LIMITS):
            with set_at_the_end(is_answering, reads.released):
                await feed(redis, bot, *EARLY)
                await eventually(lambda: sorted(sink.ids()) == EARLY)
                await feed(redis, bot, "late0", "late1")
                await eventually(reads.found.is_set)
                match change:
                    case "paused":
                        await Suspensions(redis).pause("bot", "maintenance", 1)
                        await eventually(lambda: any(line["event"] == "lane.paused" for line in logs))
                    case "broken":
                        is_answering.set()
                        await eventually(Suspensions(redis).open_breakers)
                    case _:
                        rules_file.write_text(rules_for(sink).replace("/bot", "/moved"))
                        rules.reload()
                        await eventually(ended.is_set)
                reads.released.set()
                await asyncio.sleep(0.1)  # nothing may happen
                assert sorted(sink.ids("/bot")) == EARLY
                if change == "moved":
                    is_answering.set()
                    await eventually(lambda: {"late0", "late1"} <= set(sink.ids("/moved")))


@pytest.mark.parametrize("moment", ["look", "start"])
@pytest.mark.parametrize("change", ["removed", "other topic"])
async def test_rules_that_change_while_a_lane_starts_are_in_force(
    redis: Redis,
    rules_file: Path,
    rules: ConfigFile,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    moment: str,
) -> None:
    """A worker is made from what was read of its lane a moment before."""
    bot, changed, start = Lane(redis, "bot", "messages"), asyncio.Event(), LaneWorkers.start_wanted
    await bot.ensure()
    await feed(redis, bot, "e0")
    look, open_breakers = look_at_lanes, Suspensions.open_breakers
    old, new = 'name = "bot"\ntopic = "messages"', 'name = "bot"\ntopic = "everything"'
    if change == "removed":
        old, new = 'name = "bot"', 'name = "late"'

    async def change_rules(lanes: LaneWorkers) -> None:
        if not changed.is_set():
            changed.set()
            await Lane(redis, "bot", "everything").ensure()  # as the router does
            rules_file.write_text(rules_for(sink).replace(old, new))
            rules.reload()
            lanes.follow_rules()

    async def start_wanted(lanes: LaneWorkers) -> None:
        async def late_look(*arguments: Any, **options: Any) -> Any:
            found = await look(*arguments, **options)
            if moment == "look":
                await change_rules(lanes)
            return found

        async def late_breakers(suspensions: Suspensions) -> dict[str, OpenBreaker]:
            found = await open_breakers(suspensions)
            if moment == "start":
                await change_rules(lanes)
            return found

        monkeypatch.setattr(lane_workers, "look_at_lanes", late_look)
        monkeypatch.setattr(Suspensions, "open_breakers", late_breakers)
        await start(lanes)

    monkeypatch.setattr(LaneWorkers, "start_wanted", start_wanted)
    with capture_logs() as logs:
        async with delivering(redis, rules, "bot", timings=replace(TIMINGS, pending_count=3600.0)):
            await changed.wait()
            if change == "removed":
                await asyncio.sleep(0.2)  # nothing may happen
            else:
                await eventually(lambda: sink.ids("/bot"))
    assert [line for line in logs if line["event"] == "lane.error"] == []
    assert sink.ids("/bot") == ([] if change == "removed" else ["e0"])
