"""The arq workers of one process, one for each queue: wired so that they survive Redis restarts, kills and deploys.

What differs from arq's defaults, and why (all measured on arq 0.28):

* its connection pool retries for ever: the stock worker exits when Redis restarts. If a worker fails all the same, a
  new one replaces it while the jobs of the old one continue;
* its lock on a job is short and renewed by the job's lease (`relay.store.driver.lease`), not as long as the longest
  job may take;
* results are not kept: a kept result blocks the same job id, and our ids are fixed;
* jobs are JSON, not pickles: otherwise a client that can write to Redis could run code here;
* it need not poll for wake-ups, which reach it at once (`wakeup_listener`);
* `arq:abort` is not used (`arq_client`): on a Redis Cluster it would be in another slot than the job;
* tries are unlimited: arq counts a deploy as a try;
* signals are handled here: jobs are asked to end, get time to do so, and are then cancelled.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from arq.utils import to_unix_ms
from arq.worker import Worker
from pydantic_core import from_json
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.config.admin_address import WORKER
from relay.process.event_loop import stop_on_signals
from relay.process.lifecycle import Phase
from relay.process.resources.descriptors import raise_descriptor_limit
from relay.process.resources.gc_tuning import tune_gc
from relay.process.tasks import end_task, in_background
from relay.store import wakeups
from relay.store.driver.client import REDIS_ERRORS, WORKER_TIMEOUT, describe, retry_until_redis_answers
from relay.store.driver.pools.failover_pool import open_pool
from relay.store.fleet.processes import Reporter
from relay.store.rights.check import wait_for_access
from relay.store.sharding.number import require_number_of_shards
from relay.web.admin.listener import listening_for_operators
from relay.web.admin.report import Identity, ObservedProcess
from workers.runtime.arq_client import ArqClient
from workers.runtime.jobs import wake_for_rest
from workers.runtime.parts import WorkerParts, context_of, parts_of, worker_parts
from workers.runtime.queues import POLL, QUEUES, UNLIMITED
from workers.runtime.wakeup_listener import listen
from workers.runtime.without_arq import is_full, run_until_there_is_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from arq.connections import ArqRedis

    from relay.config.settings import Settings
    from relay.process.telemetry.spans import Tracer
    from relay.process.timings import Timings
    from relay.store.keys import Keyspace
    from workers.runtime.queues import Queue

_QUEUE_CLEANUP = 15.0  # seconds: a queue ends two tasks in the background, each within five

log = structlog.get_logger()


async def run_worker(settings: Settings, timings: Timings, tracer: Tracer | None = None) -> None:
    """Run a worker until SIGTERM or SIGINT; without `tracer` traces are off.

    Raises:
        ConfigError: relay.toml has mistakes or secrets are missing.
    """
    stop = stop_on_signals()
    raise_descriptor_limit()
    log.info("worker.starting", **settings.shown())
    async with worker_parts(settings, timings, tracer) as parts, _observed(settings, parts):
        if not await _has_access(parts, stop):
            return
        pool, lifecycle = _pool(settings, parts.redis.key), parts.readiness.lifecycle
        arq: list[Worker] = []
        lifecycle.run()
        async with (
            lifecycle.stopping_with(stop),
            Reporter(parts.redis, WORKER, lifecycle, partial(_work, parts, arq), timings),
        ):
            await _work_until_stopped(pool, parts, arq)
        await pool.aclose(close_connection_pool=True)
    log.info("worker.stopped")


async def _work_until_stopped(pool: ArqRedis, parts: WorkerParts, arq: list[Worker]) -> None:
    """Run jobs until the process stops, but not while it drains; `arq` has the workers that have jobs."""
    lifecycle = parts.readiness.lifecycle
    while lifecycle.phase is not Phase.STOPPING:
        if lifecycle.is_draining:
            await lifecycle.until(Phase.RUNNING, Phase.STOPPING)
            continue
        parts.stop.clear()
        async with running_arq(pool, parts, arq):
            log.info(
                "worker.started",
                checks_linq=parts.drift_check.is_possible,
                topics=len(parts.rules.current.config.topics),
                subscriptions=len(parts.rules.current.config.subscriptions),
            )
            tune_gc()
            await lifecycle.until(Phase.DRAINING, Phase.STOPPING)
            if not lifecycle.is_draining:
                log.info("worker.stopping")
            parts.stop.set()
        parts.readiness.ended()
        log.info("worker.idle", note="nothing is in flight here")


def _work(parts: WorkerParts, arq: list[Worker]) -> list[str]:
    """Return the work in hand, in words: the deliveries in flight and the jobs that run."""
    deliveries = [f"{count} in flight to {name}" for name, count in parts.partition_worker.in_flight().items()]
    prefix = parts.redis.key.job_id("")
    running = [job_id for worker in arq for job_id in worker.tasks if not worker.tasks[job_id].done()]
    jobs = [job_id.removeprefix(prefix) for job_id in running]
    return [*deliveries, *jobs]


def _observed(settings: Settings, parts: WorkerParts) -> AbstractAsyncContextManager[int | None]:
    """Serve the admin listener while the context is open."""
    observed = ObservedProcess(Identity(WORKER, settings, parts.rules), parts.readiness, parts.metrics.process)
    return listening_for_operators(observed, settings, WORKER, timings=parts.timings)


async def _has_access(parts: WorkerParts, stop: asyncio.Event) -> bool:
    """Wait for Redis, check the rights there and read the rules there; False if the process is stopped meanwhile."""

    async def begin() -> None:
        await wait_for_access(parts.redis)
        await retry_until_redis_answers("reading the number of shards", partial(require_number_of_shards, parts.redis))
        await parts.rules.read()

    async with in_background(begin()) as access, in_background(stop.wait()) as stopped:
        await asyncio.wait({access, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if access.done():
            access.result()
        return access.done()


def _pool(settings: Settings, key: Keyspace) -> ArqRedis:
    """Open arq's own connection pool to the shard with these keys; it waits for Redis however long it is away."""
    pool = open_pool(
        str(settings.redis_url),
        WORKER_TIMEOUT,
        key.name,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries=-1),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError],
        client_name="linq-relay-arq",
    )
    return ArqClient(
        pool,
        job_serializer=wakeups.serialize,
        job_deserializer=from_json,
        default_queue_name=key.queue,
        expires_extra_ms=wakeups.LIFETIME_MS,
    )


@asynccontextmanager
async def running_arq(pool: ArqRedis, parts: WorkerParts, workers: list[Worker] | None = None) -> AsyncIterator[None]:
    """Run an arq worker for each queue of each shard while the context is open; then give their jobs time to end.

    `pool` and `parts` are those of the first shard; `workers` has the arq workers that run or still have jobs.
    """
    workers = [] if workers is None else workers
    without_arq: set[asyncio.Task[None]] = set()
    pools = [(pool, parts), *((_pool(each.settings, each.redis.key), each) for each in parts.others)]
    queues = [
        asyncio.create_task(_run_queue(make_queue, pool_of_shard, of_shard, workers, without_arq))
        for pool_of_shard, of_shard in pools
        for make_queue in QUEUES
    ]
    try:
        yield
    finally:
        # A TaskGroup would cancel each of them only once.
        await asyncio.gather(*(end_task(queue, _QUEUE_CLEANUP) for queue in queues))
        await _end_jobs([*(task for worker in workers for task in _jobs_of(worker)), *without_arq], parts.timings.stop)
        for pool_of_shard, _ in pools[1:]:
            await pool_of_shard.aclose(close_connection_pool=True)


async def _run_queue(
    make_queue: Callable[[WorkerParts], Queue],
    pool: ArqRedis,
    parts: WorkerParts,
    workers: list[Worker],
    without_arq: set[asyncio.Task[None]],
) -> None:
    """Run arq workers of one queue, one after the other; `workers` keeps those that still have jobs."""
    # arq's own pool would wait for Redis without a log line.
    await retry_until_redis_answers("connecting to Redis", parts.redis.ping)
    while not parts.stop.is_set():  # a cancellation may be lost (`end_task`)
        queue = make_queue(parts)
        if await is_full(parts):  # arq would fail, and its listener may end seconds later
            parts.readiness.without_arq(queue.name)
            await run_until_there_is_memory(parts, queue.without_arq, without_arq)
            continue
        worker = _worker(queue, pool, parts)
        workers[:] = [former for former in workers if former.queue_name != queue.name or _jobs_of(former)]
        workers.append(worker)
        parts.readiness.polled(queue.name)
        try:
            async with in_background(worker.main()) as polling, in_background(listen(parts.redis, worker)) as listening:
                done, _ = await asyncio.wait({polling, listening}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except OutOfMemoryError:
            parts.readiness.without_arq(queue.name)
            await run_until_there_is_memory(parts, queue.without_arq, without_arq)
        except REDIS_ERRORS as error:
            log.warning("worker.restarting", queue=queue.name, error=describe(error))
        except Exception:  # any bug: a process that lives on and runs no jobs would be worse
            log.exception("worker.error", queue=queue.name)
        for task in worker.tasks.values():
            task.add_done_callback(_log_failure)
        await asyncio.sleep(1)


def _log_failure(task: asyncio.Task[Any]) -> None:
    """Log the error of a job that outlived its worker, which no longer does."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, REDIS_ERRORS):
        log.warning("job.interrupted", error=describe(error))
    else:
        log.error("job.error", exc_info=error)


async def _end_jobs(tasks: list[asyncio.Task[Any]], timeout: float) -> None:
    """Wait up to `timeout` seconds for jobs to end, then cancel them."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=timeout)
        await asyncio.gather(*map(end_task, late))


def _jobs_of(worker: Worker) -> list[asyncio.Task[Any]]:
    return [task for task in worker.tasks.values() if not task.done()]


class _Worker(Worker):
    """arq's worker, but without a second run of a job that it is running itself, and with prefixed ids of cron jobs.

    The stock worker asks Redis about its own jobs on every poll, and would start a job again whose lock was lost (a
    Redis that lost its data), although it keeps its runs by job id. So it would those whose work another job does here.
    And it names a cron job by its function and time alone, so that two relays in one Redis would take each other's.
    """

    keys: Keyspace

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start the jobs of `job_ids` whose work is not done here; called at every poll."""
        parts = parts_of(self.ctx)
        parts.readiness.polled(self.queue_name)
        running = {job_id for job_id, task in self.tasks.items() if not task.done()}
        running |= parts.of_home.partition_worker.jobs
        await super().start_jobs([job_id for job_id in job_ids if job_id.decode() not in running])

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Enqueue the cron jobs that are due, under ids that begin with the prefix of our keys."""
        for job in self.cron_jobs:
            if job.next_run is None and job.run_at_startup:
                job.next_run = n
            if job.next_run is not None:
                job.job_id = self.keys.job_id(f"{job.name}:{to_unix_ms(job.next_run)}")
        await super().run_cron(n, delay, num_windows)


def _worker(queue: Queue, pool: ArqRedis, parts: WorkerParts) -> Worker:
    worker = _Worker(
        functions=queue.functions,
        cron_jobs=queue.crons,
        after_job_end=wake_for_rest,
        queue_name=queue.name,
        redis_pool=pool,
        ctx=context_of(parts),
        handle_signals=False,
        max_jobs=queue.max_jobs,
        poll_delay=POLL,
        keep_result=0,
        max_tries=UNLIMITED,
        health_check_interval=5,
        job_serializer=wakeups.serialize,
        job_deserializer=from_json,
        expires_extra_ms=wakeups.LIFETIME_MS,
    )
    worker.keys = parts.redis.key
    worker.in_progress_timeout_s = parts.timings.arq_lock
    return worker
