"""The listener of a queue: starts a job as soon as a wake-up has enqueued it, or as soon as it is due.

arq polls its queue: to start a job within 50 ms it would have to ask Redis twenty times a second, which takes 2 % of a
core. So it polls slowly, and the listener waits in Redis for the next wake-up, which is given to one worker only, the
one that has waited longest. The job itself is arq's: `start_jobs` checks its lock and its due time, as after a poll.
The poll finds what no listener has taken: jobs of a worker that died, cron jobs, a wake-up whose listener was ending.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from relay.store import wakeups
from relay.store.driver.client import retry_until_redis_answers
from relay.store.isolation import Isolation

if TYPE_CHECKING:
    from arq.worker import Worker

    from relay.store.driver.client import Redis

_LONGEST = 4.0  # seconds in Redis: less than the timeout of a round trip
_SHORTEST = 0.001  # seconds: 0 would be for ever
_AFTER_ERROR = 1.0  # seconds; the poll still finds every job


async def listen(redis: Redis, worker: Worker) -> None:
    """Start the jobs of the worker's queue that are woken, or whose time has come, until cancelled.

    It raises what `start_jobs` raises: the worker may have counted a job that it has not started.
    """
    key, isolation = redis.key.woken(worker.queue_name), Isolation(redis)

    async def find_next() -> list[bytes] | None:
        return await isolation.contain("wakeups", key, _next(redis, worker.queue_name), {key: "zset"})

    while True:
        found = await retry_until_redis_answers("waiting for wake-ups", find_next)
        if found is None:
            await asyncio.sleep(_AFTER_ERROR)
        elif found:
            await worker.start_jobs(found)


async def _next(redis: Redis, queue: str) -> list[bytes]:
    """Wait a while for the next job of `queue`; return its id, or nothing."""
    now_ms = round(time.time() * 1000)
    deferred = await wakeups.next_deferred(redis, queue, now_ms)
    wait = _LONGEST if deferred is None else min(max((deferred[1] - now_ms) / 1000, _SHORTEST), _LONGEST)
    job = await wakeups.take_woken(redis, queue, wait)
    if job is None and deferred is not None and wait < _LONGEST:
        job, _ = deferred
    return [] if job is None else [job.encode()]
