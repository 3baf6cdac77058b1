"""The arq jobs: route, deliver, replay, the sweep, retention, and the upkeep of our subscriptions at Linq.

A drain job is rung by a wakeup of a fixed id, takes the lease on it, works, and ends. `drain_again` runs after arq has
forgotten the job: an event that arrived while it was ending found its wakeup still hanging and rang nothing, so we look
once more. Jobs that may outlast arq's short lock hold a lease, too: it keeps the lock (`relay.store.driver.lease`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from arq.worker import Retry

from relay.store import wakeups
from relay.store.driver.client import RedisTrouble, describe, retry_until_redis_answers
from relay.store.driver.lease import LeaseTaken, acquire_lease
from workers.runtime.parts import job_of, parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from relay.store.driver.lease import Lease

Context = dict[Any, Any]

log = structlog.get_logger()


async def route(ctx: Context) -> None:
    """Drains the inbox into the topics."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.router.drain(lease, parts.stop)


async def deliver(ctx: Context, partition: int) -> None:
    """Drains the lanes of one partition."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.deliverer.drain(partition, lease, parts.stop)


async def replay(ctx: Context) -> None:
    """Moves the replays on."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.replayer.drain(lease, parts.stop)


async def sweep(ctx: Context) -> None:
    """Wakes whoever has work and was not woken."""
    await _now_or_next_time("sweeping", parts_of(ctx).sweeper.sweep())


async def check_linq(ctx: Context) -> None:
    """Looks after our subscriptions at Linq."""
    async with _lease(ctx):
        await parts_of(ctx).drift_check.check()


async def trim(ctx: Context) -> None:
    """Trims the topics, and the lanes' memory of attempts."""
    async with _lease(ctx):
        await _now_or_next_time("trimming", parts_of(ctx).retention.trim())


@asynccontextmanager
async def _lease(ctx: Context) -> AsyncIterator[Lease]:
    """The lease on the job while it works; where somebody else holds it, arq is to try again soon."""
    parts = parts_of(ctx)
    try:
        async with acquire_lease(parts.redis, job_of(ctx), parts.replicas, parts.timings) as lease:
            yield lease
    except LeaseTaken:
        raise Retry(parts.timings.lease_retry) from None


async def drain_again(ctx: Context) -> None:
    """Rings a drain job that has just ended if there is something for it."""
    job, sweeper = job_of(ctx), parts_of(ctx).sweeper
    if job == wakeups.ROUTE.job_id:
        await retry_until_redis_answers("looking at the inbox again", sweeper.check_inbox)
    elif job == wakeups.REPLAY.job_id:
        await retry_until_redis_answers("looking at replays again", sweeper.check_replays)
    partition = wakeups.partition_of_job(job)
    if partition is not None:
        await retry_until_redis_answers("looking at lanes again", lambda: sweeper.check_partition(partition))


async def _now_or_next_time(what: str, work: Awaitable[None]) -> None:
    """Does what is soon done again anyway; if Redis cannot now (no connection, no memory), says so and no more."""
    try:
        await work
    except RedisTrouble as error:
        log.warning("job.deferred", what=what, error=describe(error))
