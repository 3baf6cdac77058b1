"""The arq jobs: route, deliver, replay, grow, sweep, trim, alert, backfill, and the looks at our subscriptions at Linq.

A drain job (route, deliver, replay) is enqueued by a wake-up with a fixed id, acquires the lease on that id, works, and
ends. An event that arrives while the job ends cannot enqueue it, since arq still knows the id. So `wake_for_rest` runs
after arq has forgotten the job, and enqueues it again if there is work. Jobs that may outlast arq's short lock also
acquire a lease, which renews that lock (`relay.store.driver.lease`).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog
from arq.worker import Retry

from relay.alerts import LEASE as ALERTS_LEASE
from relay.store import wakeups
from relay.store.driver.client import REDIS_ERRORS, describe, retry_until_redis_answers
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.driver.lease import LeaseTaken, acquire_lease
from workers.maintenance.backfill.backfiller import LEASE as BACKFILL_LEASE
from workers.runtime.parts import job_of, parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from relay.store.driver.lease import Lease
    from workers.runtime.parts import WorkerParts

SWEEP_LIMIT, TRIM_LIMIT, ALERT_LIMIT = 60.0, 600.0, 300.0
"""Seconds that a run of these may take. arq's own limits are longer: what they end is a traceback in the log."""

Context = dict[Any, Any]

log = structlog.get_logger()


async def route(ctx: Context) -> None:
    """Drain the inbox into the topics."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.router.drain(lease, parts.stop)


async def deliver(ctx: Context, partition: int) -> None:
    """Drain the lanes of one partition, on all shards: the lease of the first one gives the right to it."""
    parts = parts_of(ctx).of_home
    async with _lease(ctx, wakeups.deliver(parts.redis.key, partition).job_id) as lease:
        await parts.partition_worker.drain(partition, lease, parts.stop)


async def replay(ctx: Context) -> None:
    """Advance the replays."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.replayer.drain(lease, parts.stop)


async def sweep(ctx: Context) -> None:
    """Enqueue the drain jobs that have work and no wake-up."""
    async with _lease(ctx):  # which renews arq's lock, or another worker would begin it again after five seconds
        await _unless_redis_fails("sweeping", parts_of(ctx).sweeper.sweep(), SWEEP_LIMIT)


async def check_linq(ctx: Context) -> None:
    """Compare our subscriptions at Linq with relay.toml."""
    async with _lease(ctx):
        await parts_of(ctx).drift_check.check()


async def react(ctx: Context) -> None:
    """Look at Linq after account events of Linq's, unless the last look was just before."""
    async with _lease(ctx):
        await _unless_redis_fails("reacting to events of Linq", parts_of(ctx).reactions.react())


async def grow(ctx: Context) -> None:
    """Do what can be done now of a growth to more shards that is decided."""
    async with _lease(ctx):
        await _unless_redis_fails("growing", parts_of(ctx).growing.step())


async def trim(ctx: Context) -> None:
    """Trim the topics, the attempt logs and the quarantine."""
    async with _lease(ctx):
        retention = await parts_of(ctx).trimming.get()
        await _unless_redis_fails("trimming", retention.trim(), TRIM_LIMIT)


async def alert(ctx: Context) -> None:
    """Look for problems, and send webhooks about them, unless another worker is still at it."""
    alerting = parts_of(ctx).alerting
    if alerting.is_on:

        async def run(lease: Lease) -> None:
            await _unless_redis_fails("alerting", alerting.run(lease), ALERT_LIMIT)

        await _unless_taken(ctx, ALERTS_LEASE, run)


async def backfill(ctx: Context) -> None:
    """Put back what an outage has lost, unless another worker is at it."""
    backfiller = parts_of(ctx).backfiller
    await _unless_taken(ctx, BACKFILL_LEASE, lambda _: _unless_redis_fails("backfilling", backfiller.check()))


async def _unless_taken(ctx: Context, name: str, work: Callable[[Lease], Awaitable[None]]) -> None:
    """Run `work` with the lease of that name, unless another worker has taken it."""
    parts = parts_of(ctx)
    with suppress(LeaseTaken, LeaseLost):
        async with acquire_lease(parts.redis, parts.redis.key.job_id(name), parts.replicas, parts.timings) as lease:
            await work(lease)


@asynccontextmanager
async def _lease(ctx: Context, at_home: str | None = None) -> AsyncIterator[Lease]:
    """Acquire the lease of the job while it works; if another worker has it, arq retries the job soon.

    `at_home` is the id of a job of the first shard whose lease is acquired in its place.
    """
    parts, job_id = parts_of(ctx), at_home or job_of(ctx)
    redis = parts.redis if at_home is None else parts.of_home.redis
    is_job = job_id == job_of(ctx)
    try:
        async with acquire_lease(redis, job_id, parts.replicas, parts.timings, is_job=is_job) as lease:
            yield lease
    except LeaseTaken:
        raise Retry(parts.timings.lease_retry) from None


async def wake_for_rest(ctx: Context) -> None:
    """Enqueue a drain job that has just ended again if there is work for it."""
    job, sweeper, key = job_of(ctx), parts_of(ctx).sweeper, parts_of(ctx).redis.key
    if job == wakeups.route(key).job_id:
        await retry_until_redis_answers("checking the inbox", sweeper.check_inbox)
    elif job == wakeups.replay(key).job_id:
        await retry_until_redis_answers("checking replays", sweeper.check_replays)
    elif job == wakeups.react(key).job_id:
        await retry_until_redis_answers("checking account events", sweeper.check_account_events)
    partition = wakeups.partition_of_job(key, job)
    if partition is not None:
        await retry_until_redis_answers("checking lanes", lambda: sweeper.check_partition(partition))
        await _check_on_others(parts_of(ctx), partition)


async def _check_on_others(parts: WorkerParts, partition: int) -> None:
    """Wake the job of a partition on the other shards if its lanes there have work.

    Where Redis is away, a sweep finds it later.
    """
    for each in (parts.of_home, *parts.of_home.others):
        if each is not parts:
            with suppress(*REDIS_ERRORS):
                await each.sweeper.check_partition(partition)


async def _unless_redis_fails(what: str, work: Awaitable[None], limit: float | None = None) -> None:
    """Run work that its cron repeats soon, for `limit` seconds at most.

    An error of Redis (no connection, no memory) is logged and not retried, and so is work that takes too long.
    """
    try:
        async with asyncio.timeout(limit) as bound:
            await work
    except REDIS_ERRORS as error:
        reason = f"it has taken over {limit:.0f} s" if bound.expired() else describe(error)
        log.warning("job.deferred", what=what, error=reason)
