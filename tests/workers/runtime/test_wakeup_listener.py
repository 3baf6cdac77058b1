"""Wake-ups that reach a worker without a poll of arq, which is made so rare here that it helps no test in time."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

import workers.runtime.runner
from relay.store import wakeups
from relay.store.wakeups import WakeUp
from tests.building import webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, accept
from tests.workers.runtime.test_runner import TRIM, worker
from workers.maintenance.retention import Retention

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink

WOKEN = KEYS.woken(KEYS.queue)
LATER = 700
"""Milliseconds until a deferred job is due."""


@pytest.fixture
def _no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.runtime.runner, "POLL", 60.0)


@pytest.mark.usefixtures("_no_polls")
async def test_each_wakeup_starts_its_drain_at_once(redis: Redis, settings: Settings, sink: Sink) -> None:
    async with worker(settings, replace(TIMINGS, idle=0.1)):
        for posts in (2, 4):
            await accept(redis, webhook_of())
            await eventually(partial(_has_received, sink, posts))
            await eventually(lambda: _has_no_job(redis))
        assert not await redis.exists(WOKEN)


@pytest.mark.usefixtures("_no_polls")
@pytest.mark.parametrize("sooner", [False, True])
async def test_deferred_job_starts_when_it_is_due(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch, *, sooner: bool
) -> None:
    begun: list[float] = []

    async def trim(_: Retention) -> None:
        begun.append(time.time())

    monkeypatch.setattr(Retention, "trim", trim)
    async with worker(settings):
        due_ms = round(time.time() * 1000) + LATER
        if sooner:
            await wakeups.wake(redis, WakeUp("relay:trim:1", TRIM, KEYS.slow_queue), due_ms + 60_000)
        await wakeups.wake(redis, WakeUp("relay:trim:1", TRIM, KEYS.slow_queue), due_ms)
        await eventually(lambda: begun)
    assert begun[0] * 1000 >= due_ms


async def test_poll_finds_jobs_that_no_listener_took(redis: Redis, settings: Settings, sink: Sink) -> None:
    await accept(redis, webhook_of())
    await redis.delete(WOKEN)
    async with worker(settings):
        await eventually(lambda: len(sink.received) == 2)


async def test_overwritten_set_stops_no_job(redis: Redis, settings: Settings, sink: Sink) -> None:
    await redis.set(WOKEN, "not ours")
    with capture_logs() as logs:
        async with worker(settings):
            await accept(redis, webhook_of())
            await eventually(lambda: len(sink.received) == 2)
            await eventually(lambda: any(line["event"] == "wakeups.suspended" for line in logs))
    (line,) = [line for line in logs if line["event"] == "wakeups.suspended"]
    assert f"RENAME {WOKEN}" in str(line["note"])
    assert await redis.get(WOKEN) == b"not ours"


async def test_job_that_is_queued_already_wakes_no_second_worker(redis: Redis) -> None:
    job = wakeups.route(KEYS)
    await wakeups.wake(redis, job)
    assert await wakeups.take_woken(redis, job.queue, 0.01) == job.job_id
    await wakeups.wake(redis, job)
    assert await wakeups.take_woken(redis, job.queue, 0.01) is None


def _has_received(sink: Sink, posts: int) -> bool:
    return len(sink.received) == posts


async def _has_no_job(redis: Redis) -> bool:
    jobs = await redis.zrange(KEYS.queue, 0, -1)
    return not any(b"route" in job or b"deliver" in job for job in jobs)
