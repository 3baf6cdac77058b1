"""Redis is away for a moment, or a reply of it is lost: a lane takes up at once what that has left pending."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.store.lanes.many.read import LaneReads
from relay.store.lanes.suspensions import Suspensions
from tests.support import eventually
from tests.workers.conftest import TIMINGS, Sink, rules_for
from tests.workers.delivering import delivering, feed, ledger_of
from workers.delivery import lane_workers
from workers.delivery.lane_worker import LaneWorker

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery
    from relay.store.lanes.lane import Lane


@pytest.mark.parametrize("ordered", ["", 'ordered = "chat"'])
async def test_delivery_in_a_lost_reply_is_found_at_once(
    redis: Redis,
    rules_file: Path,
    rules: ConfigFile,
    lanes: dict[str, Lane],
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    ordered: str,
) -> None:
    """The read is made again and finds nothing: what it read at first waits for the search, and not for a count."""
    rules_file.write_text(rules_for(sink, bot=ordered))
    rules.reload()
    read_new = LaneReads.read_new
    lost: list[Delivery] = []

    async def settled(redis: Redis, count: int) -> bool:
        return (await ledger_of(redis, "bot")).delivered == count

    async def loses_a_reply(reads: LaneReads, lane: Lane, count: int, room: int) -> list[Delivery]:
        deliveries = await read_new(reads, lane, count, room)
        if not lost and any(delivery.record.id == "lost" for delivery in deliveries):
            lost.extend(deliveries)
            raise RedisConnectionError
        return deliveries

    monkeypatch.setattr(LaneReads, "read_new", loses_a_reply)
    async with delivering(redis, rules, "bot", timings=replace(TIMINGS, pending_count=3600.0)):
        await feed(redis, lanes["bot"], "first")
        await eventually(lambda: settled(redis, 1))
        await asyncio.sleep(0.1)  # until the worker waits
        await feed(redis, lanes["bot"], "lost")
        await eventually(lambda: sink.ids("/bot") == ["first", "lost"])
    assert lost


@pytest.mark.parametrize(
    ("owner", "step"),
    [(Suspensions, "pauses"), (lane_workers, "look_at_lanes"), (lane_workers, "save_last_successes")],
)
async def test_outage_during_any_step_of_a_partition_is_noticed(
    redis: Redis,
    rules: ConfigFile,
    lanes: dict[str, Lane],
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    step: str,
) -> None:
    """A busy partition hardly ever waits for its lanes, where an outage was noticed first."""
    original, resync = getattr(owner, step), LaneWorker.resync
    has_failed, resynced = asyncio.Event(), asyncio.Event()

    async def fails_once(*arguments: Any, **options: Any) -> Any:
        if sink.received and not has_failed.is_set():
            has_failed.set()
            raise RedisConnectionError
        return await original(*arguments, **options)

    def noted(worker: LaneWorker) -> None:
        resync(worker)
        resynced.set()

    monkeypatch.setattr(lane_workers, "_SAVE_INTERVAL", 0.01)
    monkeypatch.setattr(owner, step, fails_once)
    monkeypatch.setattr(LaneWorker, "resync", noted)
    async with delivering(redis, rules, "bot", timings=replace(TIMINGS, pending_count=0.05)):
        await feed(redis, lanes["bot"], "first")
        await eventually(has_failed.is_set)
        await eventually(resynced.is_set)
