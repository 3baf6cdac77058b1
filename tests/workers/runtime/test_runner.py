"""arq's own worker with our jobs, in this process: wake-ups, sweeps, and the loss of arq's keys."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import arq.worker
import pytest
from aiohttp import web
from arq.worker import JobExecutionFailed
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

import workers.runtime.runner
from relay.core.event_filter import EventFilter
from relay.process.timings import Timings
from relay.store import wakeups
from relay.store.driver.lease import acquire_lease
from relay.store.topics.history import History
from relay.store.topics.replays import Order, Replays, State
from relay.store.wakeups import WakeUp
from tests.building import SECRET, webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, accept, rules_for
from workers.maintenance.retention import Retention
from workers.maintenance.sweeper import Sweeper
from workers.runtime.parts import worker_parts
from workers.runtime.queues import QUEUES
from workers.runtime.runner import _pool, _Worker, running_arq

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink
    from workers.runtime.parts import WorkerParts

TRIM = wakeups.serialize({"t": None, "f": "trim", "a": [], "k": {}, "et": wakeups.NOW})
"""A trim job as arq stores it."""


@asynccontextmanager
async def worker(settings: Settings, timings: Timings = TIMINGS) -> AsyncIterator[WorkerParts]:
    """Run a worker."""
    async with worker_parts(settings, timings) as parts:
        pool = _pool(settings, parts.redis.key)
        async with running_arq(pool, parts):
            try:
                yield parts
            finally:
                parts.stop.set()
        await pool.aclose(close_connection_pool=True)


@pytest.fixture
def no_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no sweep find what has no wake-up: it would, within five seconds."""

    async def sweep(_: Sweeper) -> None:
        return

    monkeypatch.setattr(Sweeper, "sweep", sweep)


async def test_accepted_event_is_routed_and_delivered_through_arq(redis: Redis, settings: Settings, sink: Sink) -> None:
    async with worker(settings):
        first = webhook_of()
        await accept(redis, first)
        await eventually(lambda: sorted(sink.ids()) == [first.id, first.id])


async def test_next_event_wakes_a_drain_that_ended_idle(redis: Redis, settings: Settings, sink: Sink) -> None:
    async with worker(settings, replace(TIMINGS, idle=0.1)):
        for _ in range(3):
            await accept(redis, webhook_of())

            async def is_idle() -> bool:
                return not await redis.exists(KEYS.lease(wakeups.route(KEYS).job_id)) and not await redis.xlen(
                    KEYS.inbox
                )

            await eventually(is_idle)
        await eventually(lambda: len(sink.received) == 6)


@pytest.mark.background
@pytest.mark.usefixtures("no_sweeps")
async def test_events_that_arrive_while_drains_end_are_not_stranded(
    redis: Redis, settings: Settings, sink: Sink
) -> None:
    """The wake-up stays until arq has forgotten the job, so an event that arrives in that moment enqueues nothing."""
    async with worker(settings, Timings(router_block=0.001, ready_poll=0.01, idle=0.02)):
        webhooks = [webhook_of() for _ in range(60)]
        for number, webhook in enumerate(webhooks):
            await accept(redis, webhook)
            await asyncio.sleep((number % 7) * 0.01)
        await eventually(lambda: len(sink.ids("/crm")) == 60)
    assert sorted(sink.ids("/crm")) == sorted(webhook.id for webhook in webhooks)


async def test_sweep_finds_work_whose_wakeup_was_lost(redis: Redis, settings: Settings, sink: Sink) -> None:
    await accept(redis, webhook_of())
    await redis.delete(KEYS.queue, "arq:job:relay:route")
    async with worker(settings):
        await eventually(lambda: len(sink.received) == 2)


@pytest.mark.background
@pytest.mark.usefixtures("no_sweeps")
async def test_deferred_wakeup_makes_a_retry_on_time(
    redis: Redis, settings: Settings, rules_file: Path, sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["1500ms"]'))

    async def answer(received: object) -> web.Response:
        del received
        return web.Response(status=500 if len(sink.received) <= 2 else 200)

    sink.answer = answer
    async with worker(settings, replace(TIMINGS, idle=0.1)) as parts:
        await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 2)
        job = wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id

        async def deferred() -> bool:
            due = await redis.zscore(KEYS.queue, job)
            return due is not None and due > wakeups.NOW and not await redis.exists(KEYS.lease(job))

        await eventually(deferred)
        await eventually(lambda: len(sink.received) == 4)
        assert parts.stop.is_set() is False
    first, second = [post.at for post in sink.received if post.path == "/bot"]
    assert second - first > 1.3


async def test_job_waits_for_a_lease_that_is_taken(redis: Redis, settings: Settings, sink: Sink) -> None:
    timings = replace(TIMINGS, lease=1.0, lease_renew=0.2, arq_lock=1.2)
    async with acquire_lease(redis, wakeups.route(KEYS).job_id, timings=timings):
        await redis.delete(KEYS.arq_lock(wakeups.route(KEYS).job_id))
        async with worker(settings):
            await accept(redis, webhook_of())
            await asyncio.sleep(0.3)
            assert sink.received == []
    async with worker(settings):
        await eventually(lambda: len(sink.received) == 2)


@pytest.mark.background
async def test_failed_arq_worker_is_replaced(
    redis: Redis, settings: Settings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    heart_beat_of_arq = _Worker.heart_beat

    async def heart_beat(self: _Worker) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("a bug")
        await heart_beat_of_arq(self)

    monkeypatch.setattr(_Worker, "heart_beat", heart_beat)
    async with worker(settings):
        await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 2)
    assert calls > 1


@pytest.mark.background
async def test_work_continues_after_arqs_keys_are_flushed(redis: Redis, settings: Settings, sink: Sink) -> None:
    async with worker(settings):
        await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 2)
        await redis.delete(*await redis.keys("arq:*"), KEYS.queue, *await redis.keys("relay:lease:*"))
        for _ in range(5):
            await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 12)
    assert SECRET.text not in str(sink.received[0].headers)


# --- Two queues -------------------------------------------------------------------------------------------


async def test_each_job_belongs_to_one_queue(settings: Settings) -> None:
    async with worker_parts(settings) as parts:
        queues = [make_queue(parts) for make_queue in QUEUES]
    jobs = {queue.name: {job.name for job in queue.functions} | {job.name for job in queue.crons} for queue in queues}
    slow = {"alert", "grow", "react", "replay", "trim"}
    assert jobs == {"relay:arq": {"route", "deliver", "sweep"}, "relay:arq:slow": slow}


@pytest.mark.background
async def test_slow_jobs_do_not_delay_events(
    redis: Redis, settings: Settings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = 0

    async def never_ends(_: Retention) -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(Retention, "trim", never_ends)
    async with worker(settings, replace(TIMINGS, stop=0.1)) as parts:
        for n in range(40):
            await wakeups.wake(redis, WakeUp(f"relay:trim:{n}", TRIM, KEYS.slow_queue))
        (slow,) = [make_queue(parts) for make_queue in QUEUES if make_queue(parts).name == KEYS.slow_queue]
        await eventually(lambda: begun == slow.max_jobs)
        await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 2)


async def test_long_job_keeps_its_lock(redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock itself is short, so that the jobs of a killed worker continue elsewhere soon."""
    runs = []

    async def takes_long(_: Retention) -> None:
        runs.append(1)
        lock = KEYS.arq_lock("relay:trim:1")
        await redis.pexpire(lock, 100)

        async def renewed() -> bool:
            left: int = await redis.pttl(lock)
            return left > 1000

        await eventually(renewed)
        runs.append(2)

    monkeypatch.setattr(Retention, "trim", takes_long)
    async with worker(settings, replace(TIMINGS, lease_renew=0.01)):
        await wakeups.wake(redis, WakeUp("relay:trim:1", TRIM, KEYS.slow_queue))
        await eventually(lambda: runs == [1, 2])


@pytest.mark.background
async def test_replay_outlives_its_worker(redis: Redis, settings: Settings, sink: Sink) -> None:
    for n in range(30):
        fields = {"id": f"e{n}", "type": "message.received", "at": "1789377302000", "version": "v2", "body": "{}"}
        await redis.xadd(KEYS.topic("everything"), fields)  # type: ignore[arg-type]
    history = History(redis, "everything")
    survey = await history.survey(await history.span(None, None), EventFilter())
    replay = await Replays(redis).start(Order("everything", "bot", EventFilter(), 10, "ann"), survey, 1)
    async with worker(settings):
        await eventually(lambda: len(sink.ids("/bot")) >= 12)
    assert len(sink.ids("/bot")) < 30
    await redis.delete(KEYS.slow_queue)  # the sweep finds it
    async with worker(settings):
        await eventually(lambda: len(sink.ids("/bot")) >= 30)

        async def is_done() -> bool:
            ended = await Replays(redis).get(replay.id)
            return ended is not None and (ended.state, ended.sent) == (State.DONE, 30)

        await eventually(is_done)
    assert sorted(sink.ids("/bot")) == sorted(f"e{n}" for n in range(30))


async def test_failure_of_a_job_that_outlives_its_worker_is_logged_once(settings: Settings) -> None:
    async def fail(error: Exception) -> None:
        raise error

    class LostRedis(arq.worker.Worker):
        async def main(self) -> None:
            if self.queue_name != KEYS.queue:
                await asyncio.Event().wait()
            for number, error in enumerate((RedisConnectionError("gone"), ValueError("a bug"))):
                self.tasks[str(number)] = asyncio.create_task(fail(error))
            raise RedisConnectionError("gone")

    async with worker_parts(settings) as parts:
        pool = _pool(settings, parts.redis.key)
        with capture_logs() as logs, pytest.MonkeyPatch.context() as patch:
            patch.setattr(workers.runtime.runner, "_Worker", LostRedis)
            async with running_arq(pool, parts):
                await eventually(lambda: len(logs) == 3)
        await pool.aclose(close_connection_pool=True)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("worker.restarting", "warning"),
        ("job.interrupted", "warning"),
        ("job.error", "error"),
    ]


def test_failure_of_an_expired_job_can_be_serialized() -> None:
    assert b"job expired" in wakeups.serialize({"r": JobExecutionFailed("job expired")})
