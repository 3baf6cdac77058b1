"""A watch on the rights at Redis: an operator may take them away, or change the password, while a process runs.

What Redis refuses fails with its own error, and is retried; this log line names the cause and the command that repairs
it, and the process says it in `/ready`. It goes on by itself once the rights are back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import structlog
from redis.exceptions import AuthenticationError

from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REDIS_ERRORS
from relay.store.rights.check import WRONG_CREDENTIALS, refusal

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

log = structlog.get_logger()


class RightsWatch:
    """The rights as they were seen last. Enter it as a context."""

    def __init__(self, redis: Redis, interval: float = DEFAULTS.rights_check) -> None:
        """They are checked every `interval` seconds, one round trip each."""
        self._redis = redis
        self._interval = interval
        self._task: asyncio.Task[None] | None = None
        self.refusal: str | None = None
        """The reason why Redis refuses something; None if it does not."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="rights watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                self._update(await refusal(self._redis))
            except AuthenticationError:
                self._update(WRONG_CREDENTIALS)
            except REDIS_ERRORS:
                pass  # unreachable: unknown

    def _update(self, why: str | None) -> None:
        if why and why != self.refusal:
            log.error("redis.refused", error=why)
        elif self.refusal and not why:
            log.info("redis.allowed")
        self.refusal = why
