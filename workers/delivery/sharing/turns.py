"""Turns: how the lanes of one subscription, one on each shard, share its flow control.

What is in flight counts over all of them. A lane that finds no capacity for what it has queues for it, and a lane may
start no more than what those before it leave, each of which is left one delivery. So what becomes free goes round,
whichever lane sees it first. A lane that starts deliveries leaves the queue, and wakes the next one if it leaves
anything. Other lanes sleep: a lane that looks and finds nothing costs as much as a delivery.

A lane keeps its place while it reads what it sends next. If that takes long, since its shard does not answer, the
others pass it.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sized

LOOK_AGAIN = 1.0
"""Seconds after which a lane that queues looks again in any case, and after which others pass one that reads."""


class Sharing(Protocol):
    """A lane's worker."""

    @property
    def in_flight(self) -> Sized:
        """Its deliveries in flight."""

    def look(self) -> None:
        """Look whether it has capacity now."""


class Turns:
    """The lanes of one subscription that run."""

    def __init__(self) -> None:
        self._lanes: dict[Sharing, Sized] = {}
        """The lanes, with their deliveries in flight."""
        self._queue: dict[Sharing, float] = {}
        """The lanes that need capacity, the first first, and the end of their places, seconds of the loop's clock."""
        self._loop = asyncio.get_running_loop()

    @property
    def are_over(self) -> bool:
        """True if no lane runs."""
        return not self._lanes

    @property
    def in_flight(self) -> int:
        """The number of deliveries in flight, of all lanes."""
        return sum(map(len, self._lanes.values()))

    def join(self, lane: Sharing) -> None:
        """Add a lane."""
        self._lanes[lane] = lane.in_flight

    def part(self, lane: Sharing) -> None:
        """Remove a lane."""
        self._lanes.pop(lane, None)
        self.leave(lane)
        self.wake_next()

    def load(self, lane: Sharing) -> tuple[int, int]:
        """Return the number of deliveries in flight, and of the lanes whose turn is before that of `lane`.

        These are all that queue if it does not; one that has read for too long is passed.
        """
        before = 0
        if self._queue:
            now = self._loop.time()
            for other, until in self._queue.items():
                if other is lane:
                    break
                before += until > now
        return self.in_flight, before

    def wait(self, lane: Sharing) -> None:
        """Let a lane queue; it keeps the place that it has."""
        self._queue[lane] = inf

    def begin(self, lane: Sharing) -> None:
        """Let a lane that queued keep its place while it looks."""
        if lane in self._queue:
            self._queue[lane] = self._loop.time() + LOOK_AGAIN

    def leave(self, lane: Sharing) -> bool:
        """Let a lane leave the queue: it has started deliveries, or has none to start. False if it was not there."""
        return self._queue.pop(lane, None) is not None

    def is_waiting(self, lane: Sharing) -> bool:
        """Return True if a lane waits in the queue; one whose turn it is reads what it sends next."""
        return self._queue.get(lane) == inf

    def wake_next(self) -> None:
        """Wake the lane whose turn it is; one that reads what it sends next keeps its place, and looks by itself."""
        for lane, until in self._queue.items():
            if until == inf:
                lane.look()
                break

    def wake_all(self) -> None:
        """Wake every lane: the limits have changed."""
        for lane in self._lanes:
            lane.look()
