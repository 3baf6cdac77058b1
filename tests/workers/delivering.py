"""Running partition workers, and events for them."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import workers
from relay.core.delivery.circuit_breaker import Limits
from relay.store import wakeups
from relay.store.driver.lease import acquire_lease
from relay.store.lanes.ready import mark_ready
from relay.store.ledger.ledger import Ledger
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS
from workers.delivery.partition_worker import PartitionWorker, Shard
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.config.file import ConfigFile
    from relay.metrics.worker_metrics import WorkerMetrics
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis
    from relay.store.inbox.reading.hand_over import Receivers
    from relay.store.lanes.lane import Lane
    from relay.store.ledger.ledger import LaneLedger

BREAKER_LIMITS = Limits()
"""The breaker limits of production."""
_WORKERS = str(Path(workers.__path__[0]))


@asynccontextmanager
async def delivering(
    redis: Redis,
    rules: ConfigFile,
    *names_of_lanes: str,
    timings: Timings = TIMINGS,
    breaker_limits: Limits = BREAKER_LIMITS,
    metrics: WorkerMetrics | None = None,
    receivers: Receivers | None = None,
    others: tuple[Redis, ...] = (),
) -> AsyncIterator[asyncio.Event]:
    """Run the partitions of the lanes, on the shards of `redis` and of `others`; the event stops them."""
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(ConnectionPools())
        partition_worker = _partition_worker(redis, rules, connections, timings, breaker_limits)
        if metrics is not None:
            partition_worker = replace(partition_worker, metrics=metrics)
        if receivers is not None:
            partition_worker = replace(partition_worker, receivers=receivers)
        partition_worker = replace(partition_worker, others=tuple(Shard(each, {}) for each in others))
        stop = asyncio.Event()
        drains = []
        for partition in {wakeups.partition_of(name) for name in names_of_lanes or ("bot", "crm")}:
            lease = await stack.enter_async_context(acquire_lease(redis, wakeups.deliver(KEYS, partition).job_id))
            drains.append(asyncio.create_task(partition_worker.drain(partition, lease, stop)))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.gather(*drains)


async def deliver_and_be_killed(redis: Redis, rules: ConfigFile, name: str, when: Callable[[], object]) -> None:
    """Run the partition of a lane until `when` is true; then cancel all its tasks at once, as a kill would."""
    async with ConnectionPools() as connections:
        partition_worker = _partition_worker(redis, rules, connections)
        before = asyncio.all_tasks()
        async with acquire_lease(redis, wakeups.deliver(KEYS, wakeups.partition_of(name)).job_id) as lease:
            drain = asyncio.create_task(partition_worker.drain(wakeups.partition_of(name), lease, asyncio.Event()))
            await eventually(when)
            while not drain.done():
                for task in asyncio.all_tasks() - before:
                    if _is_of_a_worker(task):
                        task.cancel()
                await asyncio.sleep(0)


def _partition_worker(
    redis: Redis,
    rules: ConfigFile,
    connections: ConnectionPools,
    timings: Timings = TIMINGS,
    breaker_limits: Limits = BREAKER_LIMITS,
) -> PartitionWorker:
    sender, dice = Sender(connections, time.time), random.Random(1)
    return PartitionWorker(redis, rules, sender, time.time, dice.random, timings, breaker_limits)


def _is_of_a_worker(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(_WORKERS)


def now_ms() -> int:
    return round(time.time() * 1000)


async def feed(redis: Redis, lane: Lane, *event_ids: str, **more: str) -> None:
    """Route events to a lane, as the router does; `more` are further fields."""
    for event_id in event_ids:
        fields = {
            "id": event_id,
            "type": "message.received",
            "at": str(now_ms()),
            "version": "2026-02-03",
            **more,
        }
        body = more.get("body", f'{{"id": "{event_id}"}}')
        await redis.xadd(lane.topic_stream, {**fields, "body": body})  # type: ignore[dict-item]
    await mark_ready(redis, wakeups.partition_of(lane.name), [lane.name], 1)


async def ledger_of(redis: Redis, name: str) -> LaneLedger:
    return next(row for row in await Ledger(redis).lanes() if row.subscription == name)
