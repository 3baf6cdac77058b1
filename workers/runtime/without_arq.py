"""Jobs without arq, while Redis is at `maxmemory`.

arq's own records need memory: its lock on a job, the entries of its cron jobs. At the limit Redis refuses them, so arq
starts nothing, and nothing would ever free memory. The scripts of the drains and of retention are allowed to run at the
limit, so a worker whose arq is refused runs the jobs that free memory itself, each under its usual lease, until Redis
accepts writes again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import OutOfMemoryError

from relay.process.tasks import wait_for_event
from relay.store import wakeups
from relay.store.driver.client import REDIS_ERRORS, describe, retry_until_redis_answers
from relay.store.driver.lease import LeaseTaken, acquire_lease

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from relay.store.driver.lease import Lease
    from workers.runtime.parts import WorkerParts

    Job = Callable[[WorkerParts, asyncio.Event], Awaitable[None]]
    """Works until the event is set."""

log = structlog.get_logger()


async def run_until_there_is_memory(parts: WorkerParts, jobs: Sequence[Job], tasks: set[asyncio.Task[None]]) -> None:
    """Run `jobs` until Redis accepts writes; `tasks` has those that still end after this returns."""
    over = asyncio.Event()
    log.warning("worker.without_arq", note="Redis is at maxmemory: routing, delivering and trimming go on without arq")
    running = [asyncio.create_task(_run(job, parts, over)) for job in jobs]
    tasks.update(running)
    for task in running:
        task.add_done_callback(tasks.discard)
    try:
        while not parts.stop.is_set() and await _is_full(parts):
            await wait_for_event(parts.stop, parts.timings.memory_probe)
    finally:
        over.set()
    await asyncio.wait(running)


async def route(parts: WorkerParts, over: asyncio.Event) -> None:
    """Drain the inbox."""
    await _with_lease(parts, wakeups.route(parts.redis.key).job_id, parts.router.drain, over)


async def deliver(partition: int, parts: WorkerParts, over: asyncio.Event) -> None:
    """Drain the lanes of one partition, on all shards."""
    home, drain = parts.of_home, partial(parts.partition_worker.drain, partition)
    await _with_lease(home, wakeups.deliver(home.redis.key, partition).job_id, drain, over)


async def trim(parts: WorkerParts, over: asyncio.Event) -> None:
    """Trim topics, attempts and the quarantine, again and again."""
    while not over.is_set():
        with suppress(*REDIS_ERRORS):
            await parts.trimming.trim()
        await wait_for_event(over, parts.timings.trim_while_full)


DRAINS: tuple[Job, ...] = (route, *(partial(deliver, partition) for partition in range(wakeups.PARTITIONS)))


async def _with_lease(
    parts: WorkerParts, job_id: str, drain: Callable[[Lease, asyncio.Event], Awaitable[None]], over: asyncio.Event
) -> None:
    with suppress(LeaseTaken):
        async with acquire_lease(parts.redis, job_id, parts.replicas, parts.timings) as lease:
            await drain(lease, over)


async def _run(job: Job, parts: WorkerParts, over: asyncio.Event) -> None:
    """Run one job; a bug in it must not end the others."""
    while not over.is_set():
        try:
            await job(parts, over)
        except REDIS_ERRORS as error:
            log.warning("job.interrupted", error=describe(error))
        except Exception:  # as arq does: the job is logged and runs again
            log.exception("job.error")
        await wait_for_event(over, parts.timings.lease_retry)


async def _is_full(parts: WorkerParts) -> bool:
    """Return True if Redis refuses a write that needs memory."""
    return await retry_until_redis_answers("probing memory", partial(_refuses_writes, parts))


async def _refuses_writes(parts: WorkerParts) -> bool:
    try:
        await parts.redis.set(parts.redis.key.memory_probe, "", px=1000)
    except OutOfMemoryError:
        return True
    return False
