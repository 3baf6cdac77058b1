"""The pace at which connections are opened: a burst of requests need not open one for each.

Opening a connection costs a worker as much CPU as a delivery. When each request of a burst opened its own, 20,000
deliveries to 500 subscriptions opened 19,272. So only some are opened at a time, in turns over the pools, and a request
that waits takes a connection of its pool that becomes free meanwhile. A turn ends after a moment even if the host does
not respond: such hosts must not delay the others.

Few turns begin in a round of the event loop. An idle loop has thousands of rounds a second, so nothing waits for them.
One that is short of CPU has long rounds, in which many responses come: another connection would get no more done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.transport.connection import Connection

_MAX_OPENING = 64
_MAX_OF_POOL = 16
_MAX_OF_ROUND = 4  # in a round of the event loop
_TURN = 0.25  # seconds


class Waiting(Protocol):
    """A pool whose requests wait for a connection or a turn."""

    opening: int
    """The number of its turns that run."""
    is_queued: bool
    """True if it is among the pools that wait."""

    def next_waiting(self) -> asyncio.Future[Connection | Turn] | None:
        """Return the future of the request that has waited longest, which must get a result; None if none waits."""


class Turn:
    """The permission to open a connection. Enter it while that is opened."""

    __slots__ = ("_openings", "_pool", "_timer")

    def __init__(self, openings: Openings, pool: Waiting) -> None:
        self._openings, self._pool = openings, pool
        self._timer: asyncio.TimerHandle | None = openings.loop.call_later(_TURN, self.end)
        openings.running += 1
        pool.opening += 1

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let another request have its turn; called again, it does nothing."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._openings.running -= 1
        self._pool.opening -= 1
        self._openings.queue(self._pool)


class Openings:
    """The turns of all pools of a process."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.running = 0
        """The number of turns that run."""
        self._queue: deque[Waiting] = deque()
        self._begun = 0  # turns of this round of the event loop
        self._is_closed = False

    def queue(self, pool: Waiting) -> None:
        """Give turns to the pools that wait, `pool` as the last of them."""
        if not pool.is_queued:
            pool.is_queued = True
            self._queue.append(pool)
        self._go_on()

    def close(self) -> None:
        """Let every request have its turn: the process stops, and no connection is opened any more."""
        self._is_closed = True
        self._go_on()

    def _go_on(self) -> None:
        while self._queue and (self._has_room or self._is_closed):
            pool = self._queue.popleft()
            pool.is_queued = False
            if pool.opening >= _MAX_OF_POOL and not self._is_closed:
                continue  # it is queued again when one of its turns ends
            if (future := pool.next_waiting()) is not None:
                future.set_result(Turn(self, pool))
                self._begun += 1
                if self._begun == 1:
                    self.loop.call_soon(self._begin_round)
                pool.is_queued = True
                self._queue.append(pool)

    @property
    def _has_room(self) -> bool:
        return self.running < _MAX_OPENING and self._begun < _MAX_OF_ROUND

    def _begin_round(self) -> None:
        self._begun = 0
        self._go_on()
