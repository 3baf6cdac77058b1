"""A lease on a drain job: the right to read its streams, renewed by a heartbeat.

arq runs a job once per id and holds a lock for as long as the job may run plus ten seconds. That lock would block a
killed worker's lanes for minutes, so a drain job keeps both its own lease and arq's lock short and renews them every
second: when a worker dies, its jobs start elsewhere within seconds. The lease carries a fencing token; our scripts
refuse a worker that has lost its lease (a process that was stopped for a while), so two drains never both write.

If replicas must confirm accepted events (RELAY_REPLICAS), they must confirm each renewal as well: a worker that is
still connected to a replaced primary stops sending at once, since whatever it writes there is lost.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING

import structlog

from relay.process.tasks import end_task
from relay.store import keys
from relay.store.driver.client import RedisTrouble, retry_until_redis_answers
from relay.store.driver.replication import NotReplicated, Replication
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

LENGTH = 5.0
"""Seconds from the last renewal to the end of a lease."""
ARQ_LOCK = 6.0
"""Seconds after the last renewal that arq may start the job again: after the lease, so that the new run can have it."""
_RENEW_INTERVAL = 1.0

_renew = Script(__package__, "lease_renew")
_release = Script(__package__, "lease_release")

log = structlog.get_logger()


class LeaseTaken(Exception):
    """Another drain of the same job is alive."""


class Lease:
    """The lease of one drain job."""

    def __init__(self, job_id: str, replicas: int = 0) -> None:
        self.token = secrets.token_hex(8)
        self.lost = asyncio.Event()
        """Set when another worker holds it."""
        self._job_id = job_id
        self._replication = Replication.of_replicas(replicas)
        self._renewed_at = asyncio.get_running_loop().time()

    @property
    def is_sure(self) -> bool:
        """True if no other worker can hold it: the last renewal succeeded and has not expired."""
        return not self.lost.is_set() and asyncio.get_running_loop().time() - self._renewed_at < LENGTH

    async def renew(self, redis: Redis) -> bool:
        """Acquire or renew it; return False if another worker holds it."""
        began = asyncio.get_running_loop().time()
        redis_keys = [keys.lease(self._job_id), keys.ARQ_LOCK_PREFIX + self._job_id]
        arguments: list[str | int] = [self.token, round(LENGTH * 1000), round(ARQ_LOCK * 1000)]
        try:
            held: bool = await _renew(redis, redis_keys, arguments, self._replication) == 1
        except NotReplicated:
            self._renewed_at = -inf
            raise
        if held:
            self._renewed_at = began
        return held

    async def renew_forever(self, redis: Redis) -> None:
        """Renew it every second, until it is lost."""
        while await retry_until_redis_answers("renewing a lease", lambda: self.renew(redis)):  # noqa: ASYNC110  a heartbeat, not a wait
            await asyncio.sleep(_RENEW_INTERVAL)
        log.warning("lease.lost", job=self._job_id, note="it could not be renewed in time; another worker took over")
        self.lost.set()

    async def release(self, redis: Redis) -> None:
        """Release it, if it is still ours."""
        await _release(redis, [keys.lease(self._job_id)], [self.token])


@asynccontextmanager
async def acquire_lease(redis: Redis, job_id: str, replicas: int = 0) -> AsyncIterator[Lease]:
    """Hold the lease on `job_id` while the context is open; `replicas` must confirm each renewal.

    Raises:
        LeaseTaken: another worker holds it.
    """
    lease = Lease(job_id, replicas)
    if not await retry_until_redis_answers("acquiring a lease", lambda: lease.renew(redis)):
        raise LeaseTaken
    heartbeat = asyncio.create_task(lease.renew_forever(redis), name=f"lease {job_id}")
    try:
        yield lease
    finally:
        await end_task(heartbeat)
        with suppress(*RedisTrouble):  # it ends by itself soon
            await lease.release(redis)
