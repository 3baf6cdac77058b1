"""Jobs: changes of many things, which run on while their page shows the progress.

A job belongs to this process: it stops with it, between two batches, and what is left can be ordered again. Only the
principal who ordered it sees it.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from relay.core.errors import NotFound, RelayError, TooMany
from relay.store.driver.client import REDIS_ERRORS, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from relay.core.access.principal import Principal
    from relay.services.deliveries.dead_letters import Progress

_MAX_RUNNING = 24
_MAX_OF_TEAM, _MAX_OF_OPERATORS = 2, 8  # of those that run; no team can take the turns of the others
_MAX_REMEMBERED = 10  # ended ones of a team, or of the operators

log = structlog.get_logger()


@dataclass(slots=True)
class Job:
    """A job and its progress."""

    id: str
    title: str
    owner: str
    """The name of the principal."""
    team: str | None
    """The team of the principal; None for operators."""
    back: str
    """The path of the page that it was ordered on."""
    done: dict[str, int] = field(default_factory=dict)
    """By subscription."""
    totals: dict[str, int] = field(default_factory=dict)
    is_running: bool = True
    result: int | None = None
    error: str = ""
    remark: str = ""
    """A sentence about what could not be changed."""

    def note(self, progress: Progress) -> None:
        """Note the progress of a subscription."""
        self.done[progress.subscription] = progress.done
        self.totals[progress.subscription] = progress.total


class Jobs:
    """The jobs of this process: those that run, and the last ones that ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, title: str, owner: Principal, back: str, work: Callable[[Job], Awaitable[int]]) -> Job:
        """Start a job; `work` returns how many things it has changed.

        Raises:
            TooMany: as many as may run are running, of the team or of all.
        """
        own = [each for each in self._jobs.values() if each.team == owner.team]
        most = _MAX_OF_OPERATORS if owner.team is None else _MAX_OF_TEAM
        if sum(each.is_running for each in own) >= most:
            whose = "operators" if owner.team is None else f"the team {owner.team}"
            raise TooMany(f"{most} jobs of {whose} run already; wait until one of them has ended")
        if sum(each.is_running for each in self._jobs.values()) >= _MAX_RUNNING:
            raise TooMany(f"{_MAX_RUNNING} jobs run already; wait until one of them has ended")
        job = Job(secrets.token_urlsafe(12), title, owner.name, owner.team, back)
        self._jobs[job.id] = job
        for ended in [each for each in own if not each.is_running][:-_MAX_REMEMBERED]:
            del self._jobs[ended.id]
        task = asyncio.create_task(_run(job, work), name=f"job {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def get(self, job_id: str, principal: Principal) -> Job:
        """Return a job.

        Raises:
            NotFound: the principal has ordered none with that id, or the process was restarted since.
        """
        job = self._jobs.get(job_id)
        if job is None or job.owner != principal.name:
            raise NotFound("there is no such job: the relay was restarted since, or it ended long ago")
        return job

    async def stop(self, _: web.Application) -> None:
        """Stop every job."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _run(job: Job, work: Callable[[Job], Awaitable[int]]) -> None:
    try:
        job.result = await work(job)
    except RelayError as error:
        job.error = str(error)
    except REDIS_ERRORS as error:
        job.error = f"Redis does not answer: {describe(error)}"
    except Exception:
        log.exception("page.job_failed", job=job.title)
        job.error = "This is a mistake of the relay; its log has the details."
    finally:
        job.is_running = False
