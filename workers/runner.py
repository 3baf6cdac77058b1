"""The arq worker of one process: wired so that it survives Redis restarts, kills and deploys.

What differs from arq's defaults, and why (all measured on arq 0.28):

* its pool retries for ever: the stock worker exits when Redis restarts, and should it still fail, a new one takes over
  while the jobs of the old one go on;
* its lock on a job is short and kept alive by the job's lease (`workers.lease`), not as long as the longest job may
  take;
* results are not kept: a kept result blocks the same job id, and our ids are fixed;
* jobs are JSON, not pickles: whoever can write to Redis could run code in us otherwise;
* tries are unlimited: arq counts a deploy as a try;
* signals are ours: jobs are asked to end and given time, then cancelled.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog
from arq import cron
from arq.connections import ArqRedis
from arq.worker import Worker, func
from pydantic_core import from_json
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.event_loop import stop_on_signals
from relay.store import bells, names
from relay.store.connect import WORKER_PATIENCE, RedisTrouble, describe, persistently, soundly
from relay.tasks import end_task
from workers.context import WorkerParts, context_of, worker_parts
from workers.deliverer import GRACE
from workers.jobs import deliver, look_after, look_again, route, sweep, trim
from workers.lease import ARQ_LOCK

if TYPE_CHECKING:
    from arq.cron import CronJob

    from relay.settings import Settings

_POLL = 0.05  # seconds: what an event waits for when no drain lingers
_SWEEP = set(range(0, 60, 5))  # seconds of the minute
_TRIM = 20  # the second of each minute
_UPKEEP = set(range(0, 60, 5))  # minutes of the hour
_JOBS = bells.SLOTS + 5  # the router, every slot, the sweep, retention, the upkeep, and one to spare
_LONGEST_JOB = 2 * 3600  # seconds; drains end by themselves long before
_STOP_PATIENCE = GRACE + 5
_UNLIMITED = 2**31

log = structlog.get_logger()


async def run_worker(settings: Settings) -> None:
    """Runs a worker until SIGTERM or SIGINT.

    Raises:
        ConfigError: relay.toml has mistakes or secrets are missing.
    """
    stop = stop_on_signals()
    log.info("worker.starting", **settings.shown())
    async with worker_parts(settings) as parts:
        pool = _pool(settings)
        workers: list[Worker] = []
        runner = asyncio.create_task(run_arq(pool, parts, workers), name="arq")
        log.info(
            "worker.started",
            looks_after_linq=parts.upkeep.is_possible,
            topics=len(parts.rules.current.config.topics),
            subscriptions=len(parts.rules.current.config.subscriptions),
        )
        await stop.wait()
        log.info("worker.stopping")
        parts.stop.set()
        await end_task(runner)
        await end_jobs(workers)
        await pool.aclose(close_connection_pool=True)
    log.info("worker.stopped")


def _pool(settings: Settings) -> ArqRedis:
    """Connections for arq itself: patient, since a worker has nothing better to do than to wait for Redis."""
    pool: Any = ConnectionPool.from_url(
        str(settings.redis_url),
        socket_timeout=WORKER_PATIENCE,
        socket_connect_timeout=WORKER_PATIENCE,
        socket_keepalive=True,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), retries=-1),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError],
        client_name="linq-relay-arq",
    )
    return ArqRedis(
        soundly(pool),
        job_serializer=bells.serialize,
        job_deserializer=from_json,
        default_queue_name=names.QUEUE,
        expires_extra_ms=bells.LIFETIME_MS,
    )


async def run_arq(pool: ArqRedis, parts: WorkerParts, workers: list[Worker]) -> None:
    """Runs arq workers one after the other, until cancelled. `workers` keeps those that have jobs."""
    await persistently("connecting to Redis", parts.redis.ping)  # arq's own pool waits for it without a word
    while True:
        workers[:] = [worker for worker in workers if _jobs_of(worker)]
        workers.append(_worker(pool, parts))
        try:
            await workers[-1].main()
        except RedisTrouble as error:
            log.warning("worker.restarting", error=describe(error))
        except Exception:  # whatever it is: a worker that stops picking jobs and lives on would be the worst
            log.exception("worker.broken")
        for task in workers[-1].tasks.values():
            task.add_done_callback(_say_how_it_ended)
        await asyncio.sleep(1)


def _say_how_it_ended(task: asyncio.Task[Any]) -> None:
    """Of a job that outlives its worker, since nobody else asks."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, RedisTrouble):
        log.warning("job.cut_off", error=describe(error))
    else:
        log.error("job.broken", exc_info=error)


async def end_jobs(workers: list[Worker]) -> None:
    """Lets the jobs of `workers` end, for a bounded time."""
    tasks = [task for worker in workers for task in _jobs_of(worker)]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_STOP_PATIENCE)
        await asyncio.gather(*map(end_task, late))


def _jobs_of(worker: Worker) -> list[asyncio.Task[Any]]:
    return [task for task in worker.tasks.values() if not task.done()]


class _Worker(Worker):
    """arq's worker, which does not look at jobs that it is running itself.

    The stock one asks Redis about them on every poll, and would start a second run of one whose lock was lost (a Redis
    that lost its data), although it keeps its runs by job id.
    """

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Starts those of `job_ids` that are free."""
        running = {job_id.encode() for job_id, task in self.tasks.items() if not task.done()}
        await super().start_jobs([job_id for job_id in job_ids if job_id not in running])


def _cron_jobs(parts: WorkerParts) -> list[CronJob]:
    jobs = [
        cron(sweep, name="sweep", second=_SWEEP, run_at_startup=True, keep_result=0, timeout=60),
        cron(trim, name="trim", second=_TRIM, keep_result=0, timeout=600),
    ]
    if parts.upkeep.is_possible:
        jobs.append(cron(look_after, name="upkeep", minute=_UPKEEP, second=30, keep_result=0, timeout=1800))
    return jobs


def _worker(pool: ArqRedis, parts: WorkerParts) -> Worker:
    worker = _Worker(
        functions=[
            func(route, name="route", timeout=_LONGEST_JOB, keep_result=0, max_tries=_UNLIMITED),
            func(deliver, name="deliver", timeout=_LONGEST_JOB, keep_result=0, max_tries=_UNLIMITED),
        ],
        cron_jobs=_cron_jobs(parts),
        after_job_end=look_again,
        queue_name=names.QUEUE,
        redis_pool=pool,
        ctx=context_of(parts),
        handle_signals=False,
        max_jobs=_JOBS,
        poll_delay=_POLL,
        keep_result=0,
        max_tries=_UNLIMITED,
        health_check_interval=5,
        job_serializer=bells.serialize,
        job_deserializer=from_json,
        expires_extra_ms=bells.LIFETIME_MS,
    )
    worker.in_progress_timeout_s = ARQ_LOCK
    return worker
