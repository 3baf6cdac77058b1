"""Which job lives on which arq queue.

    hot     route, deliver, sweep          what events wait for: looked at twenty times a second
    slow    replay, retention, upkeep      what may take minutes, and for which nobody waits

arq has a bounded number of slots for each queue and looks at the oldest jobs first, so jobs that take long would keep
those that are quick from starting. Each queue has a worker of its own in every process, with a slot for each of its
jobs: neither can starve the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arq import cron
from arq.worker import func

from relay.store import keys, wakeups
from workers.runtime.jobs import deliver, look_after, replay, route, sweep, trim

if TYPE_CHECKING:
    from collections.abc import Callable

    from arq.cron import CronJob
    from arq.typing import WorkerCoroutine
    from arq.worker import Function

    from workers.runtime.parts import WorkerParts

UNLIMITED = 2**31
"""Tries of a job: arq counts a deploy as one."""

_SWEEP = set(range(0, 60, 5))  # seconds of the minute
_TRIM = 20  # the second of each minute
_UPKEEP = set(range(0, 60, 5))  # minutes of the hour
_LONGEST_DRAIN = 2 * 3600  # seconds; drains end by themselves long before


@dataclass(frozen=True, slots=True)
class Queue:
    """One arq queue and its jobs."""

    name: str
    functions: tuple[Function, ...]
    crons: tuple[CronJob, ...]
    slots: int
    """Jobs at once in one process."""
    poll: float
    """Seconds between two looks for jobs."""


def _hot(parts: WorkerParts) -> Queue:
    del parts
    return Queue(
        keys.QUEUE,
        functions=(_drain(route, "route"), _drain(deliver, "deliver")),
        crons=(cron(sweep, name="sweep", second=_SWEEP, run_at_startup=True, timeout=60),),
        slots=wakeups.SLOTS + 3,  # every slot of lanes, the router, the sweep, and one to spare
        poll=0.05,  # what an event waits for when no drain lingers
    )


def _slow(parts: WorkerParts) -> Queue:
    crons = [cron(trim, name="trim", second=_TRIM, timeout=600)]
    if parts.upkeep.is_possible:
        crons.append(cron(look_after, name="upkeep", minute=_UPKEEP, second=30, timeout=1800))
    return Queue(
        keys.SLOW_QUEUE,
        functions=(_drain(replay, "replay"),),
        crons=tuple(crons),
        slots=20,  # the replays, and as many runs of the others as their timeouts let overlap
        poll=0.5,
    )


QUEUES: tuple[Callable[[WorkerParts], Queue], ...] = (_hot, _slow)
"""What makes each queue; every arq worker wants one of its own, since cron jobs remember when they are due."""


def _drain(job: WorkerCoroutine, name: str) -> Function:
    return func(job, name=name, timeout=_LONGEST_DRAIN, keep_result=0, max_tries=UNLIMITED)
