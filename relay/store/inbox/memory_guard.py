"""Backpressure before Redis is full: the ingress refuses events (503, which Linq retries) at a high-water mark.

At `maxmemory` Redis refuses every write that needs memory, also those of routing and delivering. The room between the
mark and `maxmemory` is theirs: what was accepted can leave, which makes room again. Memory is read about once a second,
more often close to the mark.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog
from redis.exceptions import NoPermissionError, ResponseError

from relay.core.errors import StoreUnavailable
from relay.process.tasks import end_task
from relay.store.driver.client import RedisTrouble, ask

if TYPE_CHECKING:
    from redis.asyncio import Redis

DEFAULT_HIGH_WATER = 0.9
"""Part of `maxmemory` that accepting may fill."""

_POLL_INTERVAL = 1.0
_CLOSE = 0.9  # of the mark; from there on it is read more often
_CLOSE_POLL_INTERVAL = 0.1

log = structlog.get_logger()


class Memory(NamedTuple):
    """Memory of a Redis, bytes."""

    used: int
    """What counts against `maxmemory`: buffers of replicas and of the append-only file do not."""
    limit: int
    """`maxmemory`; 0 for none."""

    @property
    def fill(self) -> float:
        """Part of the limit that is used; 0 where there is no limit."""
        return self.used / self.limit if self.limit else 0.0


async def memory_of(redis: Redis) -> Memory:
    """Read the memory of a Redis."""
    info = await ask(redis.info("memory"))
    return Memory(info["used_memory"] - info.get("mem_not_counted_for_evict", 0), info["maxmemory"])


class MemoryGuard:
    """Watches the memory of Redis. Enter it as a context."""

    def __init__(self, redis: Redis, high_water: float = DEFAULT_HIGH_WATER) -> None:
        self._redis = redis
        self._high_water = high_water
        self._task: asyncio.Task[None] | None = None
        self.refusal: str | None = None
        """Why nothing is accepted now; None if it is."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="memory guard")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    def check(self) -> None:
        """Do nothing if there is room for an event.

        Raises:
            StoreUnavailable: Redis is above the high-water mark.
        """
        if self.refusal is not None:
            raise StoreUnavailable(self.refusal)

    async def _watch(self) -> None:
        while True:
            pause = _POLL_INTERVAL
            try:
                fill = (await memory_of(self._redis)).fill
            except (NoPermissionError, ResponseError) as error:
                log.warning("redis.memory_unknown", error=str(error), note="no high-water mark: grant INFO to the user")
                self.refusal = None
                return
            except RedisTrouble:
                pass  # the ingress notices by itself
            else:
                self._judge(fill)
                if fill > self._high_water * _CLOSE:
                    pause = _CLOSE_POLL_INTERVAL
            await asyncio.sleep(pause)

    def _judge(self, fill: float) -> None:
        refused_before = self.refusal is not None
        if fill >= self._high_water:
            mark = f"{self._high_water:.0%}"
            self.refusal = f"Redis is nearly full: {fill:.0%} of maxmemory, events are accepted up to {mark}"
            if not refused_before:
                log.error("redis.nearly_full", fill=round(fill, 3), high_water=self._high_water, note="answering 503")
        else:
            self.refusal = None
            if refused_before:
                log.info("redis.has_room", fill=round(fill, 3))
