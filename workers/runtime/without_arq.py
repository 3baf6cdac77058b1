"""Jobs without arq, while Redis is at `maxmemory`.

arq's own records need memory: its lock on a job, the entries of its cron jobs. At the limit Redis refuses them, so arq
starts nothing, and nothing would ever free memory. The scripts of the drains and of retention are allowed to run at the
limit, so a worker whose arq is refused runs the jobs that free memory itself, each under its usual lease, until Redis
accepts writes again. Then arq starts at once, and jobs that still end keep their leases from it: one waits for the
slowest of its POSTs.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
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
    from contextlib import AbstractAsyncContextManager

    from relay.store.driver.lease import Lease
    from workers.runtime.parts import WorkerParts

    Job = Callable[[WorkerParts, asyncio.Event], Awaitable[None]]
    """Works until the event is set."""

log = structlog.get_logger()


_SHARE_PAUSE = 0.1
"""Seconds for each partition that a process has before it takes one more: workers that start within a second of each
other share the partitions about equally, and one alone has all eight within three.
"""


class Partitions:
    """The partitions of lanes that a process drains without arq.

    With several shards each one that is full asks for every partition, whose drain works on all shards. One of them at
    a time asks for its lease; the others wait here, where it costs Redis nothing.
    """

    def __init__(self) -> None:
        self._asking = tuple(asyncio.Lock() for _ in range(wakeups.PARTITIONS))
        self._taking = asyncio.Lock()
        self._taken = 0

    async def drain(self, partition: int, parts: WorkerParts, over: asyncio.Event) -> None:
        """Drain the lanes of one partition, on all shards, unless another worker does; `parts` are the first one's."""
        async with self._asking[partition]:
            try:
                async with AsyncExitStack() as stack:
                    lease = await self._take(partition, parts, over, stack)
                    if lease is not None:
                        await parts.partition_worker.drain(partition, lease, over)
            except LeaseTaken:
                await wait_for_event(over, parts.timings.lease_retry)

    async def _take(
        self, partition: int, parts: WorkerParts, over: asyncio.Event, stack: AsyncExitStack
    ) -> Lease | None:
        """Acquire the lease of a partition while `stack` is open; return None if it is over.

        Raises:
            LeaseTaken: another worker has it.
        """
        async with self._taking:
            await wait_for_event(over, self._taken * _SHARE_PAUSE)
            if over.is_set():
                return None
            job_id = wakeups.deliver(parts.redis.key, partition).job_id
            lease = await stack.enter_async_context(_lease(parts, job_id))
        self._taken += 1
        stack.callback(self._leave)
        return lease

    def _leave(self) -> None:
        self._taken -= 1


async def run_until_there_is_memory(parts: WorkerParts, jobs: Sequence[Job], tasks: set[asyncio.Task[None]]) -> None:
    """Run `jobs` until Redis accepts writes; `tasks` has those that still end after this returns."""
    over = asyncio.Event()
    log.warning(
        "worker.without_arq", note="Redis is at maxmemory: routing, delivering and trimming continue without arq"
    )
    running = [asyncio.create_task(_run(job, parts, over)) for job in jobs]
    tasks.update(running)
    for task in running:
        task.add_done_callback(tasks.discard)
    try:
        while not parts.stop.is_set() and await is_full(parts):
            await wait_for_event(parts.stop, parts.timings.memory_probe)
    finally:
        over.set()


async def route(parts: WorkerParts, over: asyncio.Event) -> None:
    """Drain the inbox."""
    await _with_lease(parts, wakeups.route(parts.redis.key).job_id, parts.router.drain, over)


async def deliver(partition: int, parts: WorkerParts, over: asyncio.Event) -> None:
    """Drain the lanes of one partition, on all shards."""
    await parts.without_arq.drain(partition, parts.of_home, over)


async def trim(parts: WorkerParts, over: asyncio.Event) -> None:
    """Trim topics, attempts and the quarantine, again and again, unless another worker does."""

    async def trim_again(lease: Lease, over: asyncio.Event) -> None:
        while not (over.is_set() or lease.lost.is_set()):
            with suppress(*REDIS_ERRORS):
                await (await parts.trimming.get()).trim()
            await wait_for_event(over, parts.timings.trim_while_full)

    await _with_lease(parts, parts.redis.key.job_id("trim"), trim_again, over)


DRAINS: tuple[Job, ...] = (route, *(partial(deliver, partition) for partition in range(wakeups.PARTITIONS)))


async def _with_lease(
    parts: WorkerParts, job_id: str, drain: Callable[[Lease, asyncio.Event], Awaitable[None]], over: asyncio.Event
) -> None:
    with suppress(LeaseTaken):
        async with _lease(parts, job_id) as lease:
            await drain(lease, over)


def _lease(parts: WorkerParts, job_id: str) -> AbstractAsyncContextManager[Lease]:
    """Acquire the lease of a job that arq does not run: arq may start it as soon as the lease is released."""
    return acquire_lease(parts.redis, job_id, parts.replicas, parts.timings, is_job=False)


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


async def is_full(parts: WorkerParts) -> bool:
    """Return True if Redis refuses a write that needs memory."""
    return await retry_until_redis_answers("probing memory", partial(_refuses_writes, parts))


async def _refuses_writes(parts: WorkerParts) -> bool:
    try:
        await parts.redis.set(parts.redis.key.memory_probe, "", px=1000)
    except OutOfMemoryError:
        return True
    return False
