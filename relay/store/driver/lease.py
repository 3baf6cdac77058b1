"""A lease on a drain job: the right to read its streams, renewed by a heartbeat.

arq runs a job once per id and holds a lock for as long as the job may run plus ten seconds. That lock would block a
killed worker's lanes for minutes, so a drain job keeps both its own lease and arq's lock short and renews them every
second: when a worker dies, its jobs start elsewhere within seconds. The lease carries a fencing token; our scripts
refuse a worker that has lost its lease (a process that was stopped for a while), so two drains never both write.

If replicas must confirm accepted events (RELAY_REPLICAS), they must confirm each renewal as well: a worker that is
still connected to a replaced primary stops sending at once, since its writes there are lost.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING

import structlog

from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS, Timings
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers
from relay.store.driver.replication import NotReplicated, Replication
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis

_renew = Script(__package__, "lease_renew")
_release = Script(__package__, "lease_release")

log = structlog.get_logger()


class LeaseTaken(Exception):
    """Another drain of the same job is alive."""


class Lease:
    """The lease of one drain job."""

    def __init__(self, job_id: str, replicas: int = 0, timings: Timings = DEFAULTS) -> None:
        self.token = secrets.token_hex(8)
        self.lost = asyncio.Event()
        """An event that is set when another worker holds the lease."""
        self._job_id = job_id
        self._replication = Replication.to_replicas(replicas)
        self._length = timings.lease
        self._renew_interval = timings.lease_renew
        self._lengths_ms = round(timings.lease * 1000), round(timings.arq_lock * 1000)
        self._now = asyncio.get_running_loop().time  # asking for the loop is a system call in Python 3.11
        self._renewed_at = self._now()

    @property
    def is_sure(self) -> bool:
        """True if no other worker can have it: the last renewal succeeded and has not expired."""
        return not self.lost.is_set() and self._now() - self._renewed_at < self._length

    async def renew(self, redis: Redis) -> bool:
        """Acquire or renew it; return False if another worker holds it."""
        began = self._now()
        redis_keys = [redis.key.lease(self._job_id), redis.key.arq_lock(self._job_id)]
        arguments: list[str | int] = [self.token, *self._lengths_ms]
        try:
            is_acquired: bool = await _renew(redis, redis_keys, arguments, self._replication) == 1
        except NotReplicated:
            self._renewed_at = -inf
            raise
        if is_acquired:
            self._renewed_at = began
        return is_acquired

    async def renew_forever(self, redis: Redis) -> None:
        """Renew it at every interval, until it is lost."""
        while await retry_until_redis_answers("renewing a lease", lambda: self.renew(redis)):  # noqa: ASYNC110  a heartbeat, not a wait
            await asyncio.sleep(self._renew_interval)
        log.warning("lease.lost", job=self._job_id, note="it could not be renewed in time; another worker took over")
        self.lost.set()

    async def release(self, redis: Redis, *, is_job: bool = True) -> None:
        """Release it, if it is still ours; with it arq's lock, unless that is of the job that runs (`is_job`)."""
        await _release(redis, [redis.key.lease(self._job_id)], [self.token])
        if not is_job:
            await redis.delete(redis.key.arq_lock(self._job_id))


@asynccontextmanager
async def acquire_lease(
    redis: Redis, job_id: str, replicas: int = 0, timings: Timings = DEFAULTS, *, is_job: bool = True
) -> AsyncIterator[Lease]:
    """Acquire the lease on `job_id` and renew it while the context is open; `replicas` must confirm each renewal.

    `is_job` is False for another job than the one that arq runs: if it is queued, it stays so meanwhile.

    Raises:
        LeaseTaken: another worker holds it.
    """
    lease = Lease(job_id, replicas, timings)
    if not await retry_until_redis_answers("acquiring a lease", lambda: lease.renew(redis)):
        raise LeaseTaken
    heartbeat = asyncio.create_task(lease.renew_forever(redis), name=f"lease {job_id}")
    try:
        yield lease
    finally:
        await end_task(heartbeat)
        with suppress(*REDIS_ERRORS):  # it expires soon
            await lease.release(redis, is_job=is_job)
