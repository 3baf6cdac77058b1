"""The arq jobs: route, deliver, replay, the sweep, retention, and the upkeep of our subscriptions at Linq.

A drain job is rung by a bell of a fixed id, takes the lease on it, works, and ends. `look_again` runs after arq has
forgotten the job: an event that arrived while it was ending found its bell still hanging and rang nothing, so we look
once more. Jobs that may outlast arq's short lock hold a lease, too: it keeps the lock (`relay.store.driver.lease`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from arq.worker import Retry

from relay.store import wakeups
from relay.store.driver.client import RedisTrouble, describe, persistently
from relay.store.driver.lease import LeaseTaken, hold
from workers.runtime.parts import job_of, parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from relay.store.driver.lease import Lease

Context = dict[Any, Any]

_TAKEN_PAUSE = 1.0  # seconds until a job whose lease somebody else holds looks again

log = structlog.get_logger()


async def route(ctx: Context) -> None:
    """Drains the inbox into the topics."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.router.drain(lease, parts.stop)


async def deliver(ctx: Context, slot: int) -> None:
    """Drains the lanes of one slot."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.deliverer.drain(slot, lease, parts.stop)


async def replay(ctx: Context) -> None:
    """Moves the replays on."""
    parts = parts_of(ctx)
    async with _lease(ctx) as lease:
        await parts.replayer.drain(lease, parts.stop)


async def sweep(ctx: Context) -> None:
    """Wakes whoever has work and was not woken."""
    await _now_or_next_time("sweeping", parts_of(ctx).sweeper.sweep())


async def look_after(ctx: Context) -> None:
    """Looks after our subscriptions at Linq."""
    async with _lease(ctx):
        await parts_of(ctx).upkeep.look()


async def trim(ctx: Context) -> None:
    """Trims the topics, and the lanes' memory of attempts."""
    async with _lease(ctx):
        await _now_or_next_time("trimming", parts_of(ctx).retention.trim())


@asynccontextmanager
async def _lease(ctx: Context) -> AsyncIterator[Lease]:
    """The lease on the job while it works; where somebody else holds it, arq is to try again soon."""
    try:
        parts = parts_of(ctx)
        async with hold(parts.redis, job_of(ctx), parts.replicas) as lease:
            yield lease
    except LeaseTaken:
        raise Retry(_TAKEN_PAUSE) from None


async def look_again(ctx: Context) -> None:
    """Rings a drain job that has just ended if there is something for it."""
    job, sweeper = job_of(ctx), parts_of(ctx).sweeper
    if job == wakeups.ROUTE.job_id:
        await persistently("looking at the inbox again", sweeper.look_at_inbox)
    elif job == wakeups.REPLAY.job_id:
        await persistently("looking at replays again", sweeper.look_at_replays)
    slot = wakeups.slot_of_job(job)
    if slot is not None:
        await persistently("looking at lanes again", lambda: sweeper.look_at_slot(slot))


async def _now_or_next_time(what: str, work: Awaitable[None]) -> None:
    """Does what is soon done again anyway; if Redis cannot now (no connection, no memory), says so and no more."""
    try:
        await work
    except RedisTrouble as error:
        log.warning("job.put_off", what=what, error=describe(error))
