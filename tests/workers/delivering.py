"""Deliverers at work, and events for them."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from relay.store import wakeups
from relay.store.driver.lease import hold
from relay.store.lanes.lane import mark_ready
from relay.store.lanes.ledger import Ledger
from tests.support import eventually
from workers.delivery.shard_worker import Deliverer
from workers.transport.pool import Connections
from workers.transport.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile
    from relay.store.lanes.lane import Lane
    from relay.store.lanes.ledger import LaneLedger


@asynccontextmanager
async def delivering(redis: Redis, rules: ConfigFile, *names_of_lanes: str) -> AsyncIterator[asyncio.Event]:
    """The slots of the lanes at work; the event stops them."""
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(Connections())
        deliverer = _deliverer(redis, rules, connections)
        stop = asyncio.Event()
        drains = []
        for slot in {wakeups.slot_of(name) for name in names_of_lanes or ("bot", "crm")}:
            lease = await stack.enter_async_context(hold(redis, wakeups.deliver(slot).job_id))
            drains.append(asyncio.create_task(deliverer.drain(slot, lease, stop)))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.gather(*drains)


async def deliver_and_be_killed(redis: Redis, rules: ConfigFile, name: str, when: Callable[[], object]) -> None:
    """The slot of a lane at work until `when` is true; then nothing of it does anything any more."""
    async with Connections() as connections:
        deliverer = _deliverer(redis, rules, connections)
        before = asyncio.all_tasks()
        async with hold(redis, wakeups.deliver(wakeups.slot_of(name)).job_id) as lease:
            drain = asyncio.create_task(deliverer.drain(wakeups.slot_of(name), lease, asyncio.Event()))
            await eventually(when)
            while not drain.done():
                for task in asyncio.all_tasks() - before:
                    if _is_of_a_worker(task):
                        task.cancel()
                await asyncio.sleep(0)


def _deliverer(redis: Redis, rules: ConfigFile, connections: Connections) -> Deliverer:
    return Deliverer(redis, rules, Sender(connections, time.time), time.time, random.Random(1).random)


def _is_of_a_worker(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "/workers/" in code.co_filename.replace("/tests/workers/", "/")


def now_ms() -> int:
    return round(time.time() * 1000)


async def feed(redis: Redis, lane: Lane, *event_ids: str, **more: str) -> None:
    """Routes events to a lane, as the router does; `more` are further fields."""
    for event_id in event_ids:
        fields = {
            "id": event_id,
            "type": "message.received",
            "at": str(now_ms()),
            "version": "2026-02-03",
            **more,
        }
        await redis.xadd(lane.topic_stream, {**fields, "body": f'{{"id": "{event_id}"}}'})  # type: ignore[dict-item]
    await mark_ready(redis, wakeups.slot_of(lane.name), [lane.name], 1)


async def ledger_of(redis: Redis, name: str) -> LaneLedger:
    return next(row for row in await Ledger(redis).lanes() if row.subscription == name)
