"""Turns: how the lanes of one subscription, one on each shard, share its flow control.

What is in flight counts over all of them. A lane that finds no capacity for what it has queues for it. So what becomes
free goes round, whichever lane sees it first. Other lanes sleep: a lane that looks and finds nothing costs as much as a
delivery.

On one server a turn lasts until what the lane has read is started, the read included, but not for long: the others
start nothing meanwhile. Then the deliveries in flight are those of few lanes, and many of them start and are settled
together, as those of the only lane of a single shard. Turns of what becomes free at one moment, which others used up
during a read, made two thirds more batches, each for twice as many lanes.

Where shards may be on several servers, a lane leaves the queue as soon as it has started deliveries. It may start no
more than what those before it leave, each of which is left one delivery. A lane keeps its place while it reads what it
sends next; the others pass it, since its server may be slow.

A lane that takes very long to read is passed in any case.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sized

LOOK_AGAIN = 1.0
"""Seconds after which a lane that queues looks again in any case, and after which others pass one that reads."""
_MAX_TURN = 0.1
"""Seconds from the first start of a turn to the last: more than 50 deliveries need, unless they are slow or limited.
Then little is settled together, and the lanes should take turns often.
"""
_ALL = 2**31  # deliveries


class Sharing(Protocol):
    """A lane's worker."""

    @property
    def in_flight(self) -> Sized:
        """Its deliveries in flight."""

    def look(self) -> None:
        """Look whether it has capacity now."""


class Turns:
    """The lanes of one subscription that run."""

    def __init__(self, *, are_kept: bool) -> None:
        """`are_kept` is True if a turn lasts until what the lane has read is started: all lanes are on one server."""
        self._are_kept = are_kept
        self._holder: Sharing | None = None
        """The lane that has started deliveries in its turn and keeps it."""
        self._ends_at = 0.0  # time of the loop's clock, of its turn
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
        """Return the number of deliveries in flight, and of those that are left to the lanes before `lane`.

        These are all that queue if it does not; one that has read for too long is passed.
        """
        left = 0
        if self._queue:
            now = self._loop.time()
            for other, until in self._queue.items():
                if other is lane:
                    break
                if until > now:
                    left += _ALL if self._are_kept else 1
        return self.in_flight, left

    @property
    def has_queue(self) -> bool:
        """True if a lane needs capacity."""
        return bool(self._queue)

    def wait(self, lane: Sharing) -> None:
        """Let a lane queue; it keeps the place that it has."""
        self._queue[lane] = inf

    def begin(self, lane: Sharing) -> None:
        """Let a lane that queued keep its place while it looks."""
        if lane in self._queue:
            self._queue[lane] = self._loop.time() + LOOK_AGAIN

    def keeps(self, lane: Sharing) -> bool:
        """Return True if a lane that has started deliveries, and has read more, keeps its turn."""
        if not self._are_kept or next(iter(self._queue), None) is not lane:
            return False
        now = self._loop.time()
        if self._holder is not lane:
            self._holder, self._ends_at = lane, now + _MAX_TURN
        return now < self._ends_at

    def leave(self, lane: Sharing) -> bool:
        """Let a lane leave the queue: its turn is over, or it has nothing to start. False if it was not there."""
        if self._holder is lane:
            self._holder = None
        return self._queue.pop(lane, None) is not None

    def is_waiting(self, lane: Sharing) -> bool:
        """Return True if a lane waits in the queue; one whose turn it is reads what it sends next."""
        return self._queue.get(lane) == inf

    def wake_next(self) -> None:
        """Wake the lane whose turn it is; one that reads what it sends next looks by itself."""
        for lane, until in self._queue.items():
            if until == inf:
                lane.look()
                break
            if self._are_kept and until > self._loop.time():
                break

    def wake_all(self) -> None:
        """Wake every lane: the limits have changed."""
        for lane in self._lanes:
            lane.look()
