"""The arq queue of each job.

    hot     route, deliver, sweep                              events wait for these
    slow    replay, grow, trim, check_linq, react, alert,      may take minutes; no event waits for these
            backfill

arq runs a bounded number of jobs per queue and starts the oldest first, so long jobs would keep quick ones from
starting. Each queue has an arq worker of its own in every process, with room for all of its jobs: neither queue can
starve the other. With several shards each has both queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from arq import cron
from arq.worker import func

from relay.store import wakeups
from workers.runtime import without_arq
from workers.runtime.jobs import (
    ALERT_LIMIT,
    SWEEP_LIMIT,
    TRIM_LIMIT,
    alert,
    backfill,
    check_linq,
    deliver,
    grow,
    react,
    replay,
    route,
    sweep,
    trim,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from arq.cron import CronJob
    from arq.typing import WorkerCoroutine
    from arq.worker import Function

    from workers.runtime.parts import WorkerParts
    from workers.runtime.without_arq import Job

UNLIMITED = 2**31
"""Tries of a job: arq counts a deploy as one."""

POLL = 0.5
"""Seconds from one poll for jobs to the next. A job of a worker that died waits for it; wake-ups do not
(`wakeup_listener`).
"""

_SWEEP = set(range(0, 60, 5))  # seconds of the minute
_TRIM = 20  # the second of each minute
_ALERT = {10, 40}  # seconds of the minute
_BACKFILL = 50  # the second of each minute
_MAX_BACKFILL = 6 * 3600  # seconds; the next run resumes it
_CHECK_LINQ = set(range(0, 60, 5))  # minutes of the hour
_MARGIN = 10.0  # seconds from the limit of a job to that of arq
_MAX_DRAIN = 2 * 3600  # seconds; drains end on their own long before


class Queue(NamedTuple):
    """An arq queue and its jobs."""

    name: str
    functions: tuple[Function, ...]
    crons: tuple[CronJob, ...]
    max_jobs: int
    """Jobs that run at once in one process."""
    without_arq: tuple[Job, ...]
    """The jobs that free memory, run by the worker itself while Redis has none for arq."""


def _hot(parts: WorkerParts) -> Queue:
    return Queue(
        parts.redis.key.queue,
        functions=(_drain(route, "route"), _drain(deliver, "deliver")),
        crons=(cron(sweep, name="sweep", second=_SWEEP, run_at_startup=True, timeout=SWEEP_LIMIT + _MARGIN),),
        max_jobs=wakeups.PARTITIONS + 3,  # every partition of lanes, the router, the sweep, and one to spare
        without_arq=without_arq.DRAINS,
    )


def _slow(parts: WorkerParts) -> Queue:
    crons = [cron(trim, name="trim", second=_TRIM, timeout=TRIM_LIMIT + _MARGIN)]
    if parts.home is None:
        crons += _of_relay(parts)
    return Queue(
        parts.redis.key.slow_queue,
        functions=(_drain(replay, "replay"), _drain(react, "react"), _drain(grow, "grow")),
        crons=tuple(crons),
        max_jobs=20,  # the replays, and as many runs of the others as their timeouts let overlap
        without_arq=(without_arq.trim,),
    )


def _of_relay(parts: WorkerParts) -> list[CronJob]:
    """Return the cron jobs that work for the relay as a whole, with several shards on the first one."""
    crons = [cron(alert, name="alert", second=_ALERT, timeout=ALERT_LIMIT + _MARGIN)]
    if parts.drift_check.is_possible:
        crons.append(cron(check_linq, name="check_linq", minute=_CHECK_LINQ, second=30, timeout=1800))
    if parts.backfiller.is_possible:
        crons.append(cron(backfill, name="backfill", second=_BACKFILL, timeout=_MAX_BACKFILL))
    return crons


QUEUES: tuple[Callable[[WorkerParts], Queue], ...] = (_hot, _slow)
"""Factories of the queues: each arq worker needs its own copy, since a cron job remembers when it is due."""


def _drain(job: WorkerCoroutine, name: str) -> Function:
    return func(job, name=name, timeout=_MAX_DRAIN, keep_result=0, max_tries=UNLIMITED)
