from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from relay.config.settings import Settings
from relay.store import wakeups
from tests.building import SECRET, webhook_of
from tests.support import KEYS
from tests.workers.conftest import accept
from workers.maintenance.retention import Retention
from workers.maintenance.sweeper import Sweeper
from workers.runtime import jobs
from workers.runtime.jobs import alert, backfill, sweep, trim
from workers.runtime.parts import context_of, worker_parts

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from relay.store.driver.client import Redis


async def test_sweep_of_a_full_redis_still_wakes_the_router(redis: Redis, redis_url: str, rules_file: Path) -> None:
    async with worker_parts(Settings(redis_url=redis_url, relay_config=rules_file)) as parts:
        await accept(redis, webhook_of())
        await redis.delete(KEYS.queue, KEYS.arq("arq:job:", "route"))
        await redis.config_set("maxmemory", "1")
        try:
            with capture_logs() as logs:
                await sweep({**context_of(parts), "job_id": KEYS.job_id("sweep")})
        finally:
            await redis.config_set("maxmemory", "0")
        assert not logs
        assert await redis.zscore(KEYS.queue, wakeups.route(KEYS).job_id) is not None


async def test_trimming_is_deferred_when_redis_is_away(
    redis_url: str, rules_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Retention) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(Retention, "trim", fail)
    async with worker_parts(Settings(redis_url=redis_url, relay_config=rules_file)) as parts:
        with capture_logs() as logs:
            await trim({**context_of(parts), "job_id": KEYS.job_id("trim")})
    assert [(line["event"], line["what"], line["error"]) for line in logs] == [("job.deferred", "trimming", "gone")]


async def test_sweep_that_takes_too_long_is_left_to_the_next(
    redis_url: str, rules_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: Sweeper) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Sweeper, "sweep", hang)
    monkeypatch.setattr(jobs, "SWEEP_LIMIT", 0.01)
    async with worker_parts(Settings(redis_url=redis_url, relay_config=rules_file)) as parts:
        with capture_logs() as logs:
            await sweep({**context_of(parts), "job_id": KEYS.job_id("sweep")})
    assert [(line["event"], line["what"], line["error"]) for line in logs] == [
        ("job.deferred", "sweeping", "it has taken over 0 s")
    ]


async def test_sweep_that_takes_long_is_not_begun_again_by_another_worker(
    redis: Redis, redis_url: str, rules_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_: Sweeper) -> None:
        locks.append(await redis.exists(KEYS.arq_lock(KEYS.job_id("sweep"))))

    locks: list[int] = []
    monkeypatch.setattr(Sweeper, "sweep", look)
    async with worker_parts(Settings(redis_url=redis_url, relay_config=rules_file)) as parts:
        await sweep({**context_of(parts), "job_id": KEYS.job_id("sweep")})
    assert locks == [1]  # arq's, renewed with the lease


async def test_locks_of_single_jobs_are_below_our_prefix(redis: Redis, redis_url: str, rules_file: Path) -> None:
    rules_file.write_text(
        f'{rules_file.read_text()}\n[alerts]\nurl = "http://127.0.0.1:9/alerts"\nsecret = "{SECRET.text}"\n'
    )
    async with worker_parts(Settings(redis_url=redis_url, relay_key_prefix="acme", relay_config=rules_file)) as parts:
        for job in alert, backfill:
            await job(context_of(parts))
    locks = {key.decode() async for key in redis.scan_iter("*arq:in-progress:*")}
    assert locks == {"arq:in-progress:acme:alerts", "arq:in-progress:acme:backfill"}
