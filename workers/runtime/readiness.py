"""Readiness of a worker process: Redis responds, and each of its queues is asked for jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from relay.process.lifecycle import Lifecycle, Phase
from relay.store.rights.probe import RedisProbe
from relay.web.admin.report import OK

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.rights.watch import RightsWatch

_LATE = 10.0  # seconds without a poll; arq polls every half second


class WorkerReadiness:
    """The readiness check of a worker."""

    def __init__(self, redis: Redis, rights: RightsWatch | None = None) -> None:
        self.lifecycle = Lifecycle(Phase.STARTING, "waiting for Redis")
        self._redis = RedisProbe(redis, rights)
        self._polls: dict[str, float] = {}

    def polled(self, queue: str) -> None:
        """Note that `queue` was asked for jobs."""
        self._polls[queue] = time.monotonic()

    def without_arq(self, queue: str) -> None:
        """Note that `queue` is not asked for a while: Redis is full, and its jobs run without arq."""
        self._polls.pop(queue, None)

    def ended(self) -> None:
        """Note that no queue is asked: the worker drains."""
        self._polls.clear()

    async def checks(self) -> dict[str, str]:
        """Return the result of each check: "ok", or why it fails."""
        await self._redis.ask()
        return {"redis": self._redis.detail, "jobs": self._jobs(), "process": self.lifecycle.detail}

    def facts(self) -> dict[str, Any]:
        """Return nothing: events wait in Redis, not here."""
        return {}

    def _jobs(self) -> str:
        now = time.monotonic()
        late = [
            f"the queue {queue} was asked for jobs {now - polled_at:.0f} s ago"
            for queue, polled_at in self._polls.items()
            if now - polled_at > _LATE
        ]
        return "; ".join(late) or OK
