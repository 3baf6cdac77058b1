"""The webhooks that wait for Redis: bounded by number and bytes, and told when it answers again.

A webhook is in the room from its verification to its response. While Redis answers, that is a round trip. When a batch
got no answer in time, or its connection was lost, the webhooks stay in the room and Redis is asked again and again, by
one task; when it answers they are sent once more, all together. What was stored in spite of the lost answer is then a
repeat, which the script recognizes: it is in the inbox once.

A full room refuses the newest. Connections beyond it are left for other requests, such as health checks, and for the
responses of 503 themselves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import StoreUnavailable
from relay.process.tasks import end_task
from relay.store.driver.client import retry_until_redis_answers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_MAX_PAUSE = 0.25  # seconds from one question to the next: it delays every webhook that waits
_FIRST_PAUSE = 0.05
_SHARE = 7 / 8  # of the connections that may be busy with waiting


class Room(NamedTuple):
    """The limits of a waiting room."""

    webhooks: int = 3584
    size: int = 64 * 1024 * 1024
    """Bytes of their bodies."""

    @classmethod
    def beside(cls, connections: int) -> Room:
        """Return the limits for an ingress process with so many connections."""
        return cls(webhooks=max(1, int(connections * _SHARE)))

    def share(self, parts: int) -> Room:
        """Return the limits of each of so many rooms: one that is full takes nothing from the others."""
        return Room(max(1, self.webhooks // parts), max(1, self.size // parts))


class WaitingRoom:
    """The webhooks of an ingress process that wait for Redis."""

    def __init__(self, ping: Callable[[], Awaitable[None]], limits: Room) -> None:
        """`ping` returns if Redis answers, and raises one of `REDIS_ERRORS` if it does not."""
        self._ping = ping
        self._limits = limits
        self._webhooks = 0
        self._size = 0
        self._asking: asyncio.Task[object] | None = None
        self._answers = asyncio.Event()  # its waiters leave in the order in which they came, at no cost
        self._answers.set()

    @property
    def redis_answers(self) -> bool:
        """False from a failure until Redis answers again."""
        return self._answers.is_set()

    async def aclose(self) -> None:
        """Stop asking Redis."""
        await end_task(self._asking)

    def enter(self, size: int) -> None:
        """Register a webhook with a body of `size` bytes.

        Raises:
            StoreUnavailable: too many wait already.
        """
        if self._webhooks >= self._limits.webhooks or (self._webhooks and self._size + size > self._limits.size):
            raise StoreUnavailable(f"{self._webhooks} webhooks with {self._size} bytes wait for Redis already")
        self._webhooks += 1
        self._size += size

    def leave(self, size: int) -> None:
        """Unregister a webhook."""
        self._webhooks -= 1
        self._size -= size

    def redis_failed(self) -> None:
        """Begin to ask Redis whether it answers, unless that is under way."""
        if self._answers.is_set():
            self._answers.clear()
            self._asking = asyncio.create_task(self._ask(), name="waiting room")

    async def until_redis_answers(self) -> None:
        """Wait until Redis has answered since the last failure."""
        await self._answers.wait()

    async def _ask(self) -> None:
        await asyncio.sleep(_FIRST_PAUSE)  # it has just failed; and it may answer this and fail again
        await retry_until_redis_answers("accept webhooks", self._ping, max_pause=_MAX_PAUSE)
        self._answers.set()
