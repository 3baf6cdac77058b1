"""A watch on the rights at Redis: an operator may take them away, or change the password, while a process runs.

What Redis refuses fails with its own error, and is retried; this log line names the cause and the command that repairs
it, and the process says it in `/ready`. It continues by itself once the rights are back.

On a cluster each primary has users of its own, so every shard is watched. What another shard than the first one refuses
concerns its events alone, and leaves the process ready for the others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import structlog
from redis.exceptions import AuthenticationError

from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REDIS_ERRORS
from relay.store.rights.check import refusal
from relay.store.rights.explanation import WRONG_CREDENTIALS

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
        self._refusals: dict[int, str] = {}
        """The reasons by the number of the shard."""

    @property
    def refusal(self) -> str | None:
        """The reason why Redis refuses something on the first shard; None if it does not."""
        return self._refusals.get(0)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="rights watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            for number, shard in enumerate(self._redis.shards):
                try:
                    self._update(number, await refusal(shard, self._redis))
                except AuthenticationError:
                    self._update(number, WRONG_CREDENTIALS)
                except REDIS_ERRORS:
                    pass  # unreachable: unknown

    def _update(self, number: int, why: str | None) -> None:
        former = self._refusals.pop(number, None)
        if why and why != former:
            log.error("redis.refused", error=why, shard=number or None)
        elif former and not why:
            log.info("redis.allowed", shard=number or None)
        if why:
            self._refusals[number] = why
