"""A lease on a drain job: the right to read its streams, kept by a heartbeat.

arq runs a job once per id and holds a lock for as long as the job may run plus ten seconds. That lock would keep a
killed worker's lanes still for minutes, so a drain job keeps both its own lease and arq's lock short and prolongs them
every second: when a worker dies, its jobs start elsewhere within seconds. The lease carries a token; our scripts refuse
a holder whose lease has passed on (a process that was stopped for a while and woke up), so two drains never both write.

Where replicas have to have what was accepted (RELAY_REPLICAS), they have to confirm each beat as well: a worker that is
left with a primary that has been replaced stops sending at once, since whatever it notes there is lost.
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
from relay.store import keys
from relay.store.driver.client import RedisTrouble, retry_until_redis_answers
from relay.store.driver.replication import NotReplicated, Replication
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

_renew = Script(__package__, "lease_renew")
_release = Script(__package__, "lease_release")

log = structlog.get_logger()


class LeaseTaken(Exception):
    """Another drain of the same job is alive."""


class Lease:
    """What a drain holds while it works."""

    def __init__(self, job_id: str, replicas: int = 0, timings: Timings = DEFAULTS) -> None:
        self.token = secrets.token_hex(8)
        self.lost = asyncio.Event()
        """Set once somebody else holds it."""
        self._job_id = job_id
        self._replication = Replication.of_replicas(replicas)
        self._length = timings.lease
        self._renew_interval = timings.lease_renew
        self._lengths_ms = round(timings.lease * 1000), round(timings.arq_lock * 1000)
        self._beaten_at = asyncio.get_running_loop().time()

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can have it: the last beat held, and is younger than the lease is long."""
        return not self.lost.is_set() and asyncio.get_running_loop().time() - self._beaten_at < self._length

    async def renew(self, redis: Redis) -> bool:
        """Takes or prolongs it; False if somebody else holds it."""
        began = asyncio.get_running_loop().time()
        redis_keys = [keys.lease(self._job_id), keys.ARQ_LOCK_PREFIX + self._job_id]
        arguments: list[str | int] = [self.token, *self._lengths_ms]
        try:
            held: bool = await _renew(redis, redis_keys, arguments, self._replication) == 1
        except NotReplicated:
            self._beaten_at = -inf
            raise
        if held:
            self._beaten_at = began
        return held

    async def renew_forever(self, redis: Redis) -> None:
        """Prolongs it every second, until it is lost."""
        while await retry_until_redis_answers("prolonging a lease", lambda: self.renew(redis)):  # noqa: ASYNC110  a heart, not a wait
            await asyncio.sleep(self._renew_interval)
        log.warning("lease.lost", job=self._job_id, note="it could not be prolonged in time; another worker took over")
        self.lost.set()

    async def release(self, redis: Redis) -> None:
        """Gives it up, if it is still ours."""
        await _release(redis, [keys.lease(self._job_id)], [self.token])


@asynccontextmanager
async def acquire_lease(
    redis: Redis, job_id: str, replicas: int = 0, timings: Timings = DEFAULTS
) -> AsyncIterator[Lease]:
    """The lease on `job_id` while the context is open, each of its beats confirmed by so many replicas.

    Raises:
        LeaseTaken: somebody else holds it.
    """
    lease = Lease(job_id, replicas, timings)
    if not await retry_until_redis_answers("taking a lease", lambda: lease.renew(redis)):
        raise LeaseTaken
    heart = asyncio.create_task(lease.renew_forever(redis), name=f"lease {job_id}")
    try:
        yield lease
    finally:
        await end_task(heart)
        with suppress(*RedisTrouble):  # it ends by itself soon
            await lease.release(redis)
