"""Backpressure before Redis is full: the ingress refuses events (503, which Linq retries) at a high-water mark.

At `maxmemory` Redis refuses every write that needs memory, also those of routing and delivery. The memory between the
mark and `maxmemory` is reserved for them: accepted events can leave, which frees memory. It is polled about once a
second, more often close to the mark.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import structlog
from redis.exceptions import NoPermissionError, ResponseError

from relay.core.errors import StoreUnavailable
from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store.driver.client import Redis

DEFAULT_HIGH_WATER = 0.9
"""Part of `maxmemory` at which acceptance stops."""

_POLL_INTERVAL = 1.0
_CLOSE = 0.9  # of the mark; above that, memory is polled more often
_CLOSE_POLL_INTERVAL = 0.1
_BLIND_POLL_INTERVAL = 10.0  # the right to INFO may come back

_FULL = (
    "new webhooks are refused with 503, which Linq retries for about 25 minutes; accepted events are still delivered, "
    "which frees memory. Raise maxmemory, or lower keep and size of the largest topics: relay topics lists them"
)
_UNKNOWN = "webhooks are accepted until Redis is full; grant the Redis user the right to INFO: relay doctor says how"

log = structlog.get_logger()


class Memory(NamedTuple):
    """Memory of a Redis, bytes."""

    used: int
    """Bytes that count against `maxmemory`: without the buffers of replicas and of the append-only file."""
    limit: int
    """The value of `maxmemory`; 0 if there is no limit."""

    @property
    def fill(self) -> float:
        """Used part of the limit; 0 if there is no limit."""
        return self.used / self.limit if self.limit else 0.0


async def memory_of(redis: Redis) -> Memory:
    """Read the memory of a Redis."""
    return memory_in(await ask(redis.info("memory")))


def memory_in(info: Mapping[str, Any]) -> Memory:
    """Return the memory in the output of `INFO`."""
    return Memory(info["used_memory"] - info.get("mem_not_counted_for_evict", 0), info["maxmemory"])


class MemoryGuard:
    """A watch on the memory of Redis. Enter it as a context."""

    def __init__(self, redis: Redis, high_water: float = DEFAULT_HIGH_WATER) -> None:
        self._redis = redis
        self._high_water = high_water
        self._task: asyncio.Task[None] | None = None
        self.refusal: str | None = None
        """Reason why events are refused now; None if they are accepted."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch(), name="memory guard")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)

    def check(self) -> None:
        """Return if events are accepted now.

        Raises:
            StoreUnavailable: Redis is above the high-water mark.
        """
        if self.refusal is not None:
            raise StoreUnavailable(self.refusal)

    async def _watch(self) -> None:
        is_blind = False
        while True:
            pause = _POLL_INTERVAL
            try:
                fill = (await memory_of(self._redis)).fill
            except (NoPermissionError, ResponseError) as error:
                if not is_blind:
                    log.warning("redis.memory_unknown", error=str(error), note=_UNKNOWN)
                self.refusal, is_blind, pause = None, True, _BLIND_POLL_INTERVAL
            except REDIS_ERRORS:
                pass  # acceptance fails by itself
            else:
                is_blind = False
                self._update(fill)
                if fill > self._high_water * _CLOSE:
                    pause = _CLOSE_POLL_INTERVAL
            await asyncio.sleep(pause)

    def _update(self, fill: float) -> None:
        was_refusing = self.refusal is not None
        if fill >= self._high_water:
            mark = f"{self._high_water:.0%}"
            self.refusal = f"Redis is nearly full: {fill:.0%} of maxmemory, events are accepted up to {mark}"
            if not was_refusing:
                log.error("redis.nearly_full", fill=round(fill, 3), high_water=self._high_water, note=_FULL)
        else:
            self.refusal = None
            if was_refusing:
                log.info("redis.has_room", fill=round(fill, 3), note="webhooks are accepted again")
