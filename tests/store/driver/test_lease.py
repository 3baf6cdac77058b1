from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.process.timings import Timings
from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from relay.store.driver.lease import Lease, LeaseTaken, acquire_lease
from tests.sentinels import sentinels
from tests.support import KEYS, TIMEOUT, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis

JOB = "relay:route"
QUICK = Timings(lease_renew=0.01)


async def test_one_holder_at_a_time(redis: Redis) -> None:
    async with acquire_lease(redis, JOB) as lease:
        assert lease.is_sure
        with pytest.raises(LeaseTaken):
            async with acquire_lease(redis, JOB):
                pass
    async with acquire_lease(redis, JOB):
        pass


async def test_lease_and_arq_lock_end_soon_after_the_last_renewal(redis: Redis) -> None:
    async with acquire_lease(redis, JOB):
        async with redis.pipeline() as pipe:
            pipe.pttl(KEYS.lease(JOB))
            pipe.pttl(KEYS.arq_lock(JOB))
            ours, arqs = await pipe.execute()
        assert 0 < ours <= 5000
        assert ours < arqs <= 6000
    assert not await redis.exists(KEYS.lease(JOB))


async def test_lease_is_renewed_while_held(redis: Redis) -> None:
    async with acquire_lease(redis, JOB, timings=QUICK):
        await redis.pexpire(KEYS.lease(JOB), 100)

        async def prolonged() -> bool:
            left: int = await redis.pttl(KEYS.lease(JOB))
            return left > 1000

        await eventually(prolonged)


async def test_worker_detects_that_another_took_its_lease(redis: Redis) -> None:
    async with acquire_lease(redis, JOB, timings=QUICK) as lease:
        await redis.set(KEYS.lease(JOB), "other")
        async with asyncio.timeout(TIMEOUT):
            await lease.lost.wait()
        assert not lease.is_sure
    assert await redis.get(KEYS.lease(JOB)) == b"other"


async def test_expired_free_lease_is_reacquired(redis: Redis) -> None:
    async with acquire_lease(redis, JOB, timings=QUICK) as lease:
        await redis.delete(KEYS.lease(JOB))

        async def is_back() -> bool:
            return bool(await redis.get(KEYS.lease(JOB)) == lease.token.encode())

        await eventually(is_back)
        assert lease.is_sure


async def test_lease_is_not_sure_without_renewal(redis: Redis) -> None:
    async with acquire_lease(redis, JOB, timings=Timings(lease=0.05, lease_renew=60.0)) as lease:
        assert lease.is_sure
        await eventually(lambda: not lease.is_sure)


async def test_lease_is_not_sure_without_replica_confirmation(tmp_path: Path) -> None:
    async with sentinels(tmp_path / "servers") as topology, open_redis(topology.url, WORKER_TIMEOUT) as redis:
        [replica] = topology.ports[1:]
        async with acquire_lease(redis, JOB, replicas=1, timings=QUICK) as lease:
            assert lease.is_sure
            topology.kill(replica)
            await eventually(lambda: not lease.is_sure)
            assert not lease.lost.is_set()
            topology.start(replica)
            await eventually(lambda: lease.is_sure)


async def test_a_lease_of_a_job_without_our_prefix_is_refused(redis: Redis) -> None:
    with pytest.raises(ValueError, match=r"the job id 'backfill' must begin with relay:"):
        await Lease("backfill").renew(redis)
