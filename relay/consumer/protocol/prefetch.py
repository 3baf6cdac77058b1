"""The number of events that a member reads ahead: what it handles within a second, or what it is asked for."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..names import MAX_PREFETCH, PREFETCH

_AHEAD = 1.0  # seconds of handling
_GROWTH = 4
"""Factor by which it grows at most from one read to the next."""


class Prefetch:
    """An adaptive number of events: `PREFETCH` at first, then between 1 and `MAX_PREFETCH`, or `limit` if that is less.

    A member that is slow leaves events to the others, and one that is fast needs few round trips.
    """

    def __init__(self, limit: int) -> None:
        self._of_all = self._limit = min(limit, MAX_PREFETCH)
        self.count = min(PREFETCH, self._limit)
        self._read_at, self._there = 0.0, 0

    def share(self, shards: int) -> None:
        """Bound it to a part of all that may be read ahead."""
        self._limit = max(self._of_all // shards, 1)
        self.count = min(max(PREFETCH // shards, 1), self._limit)

    def before_read(self) -> None:
        """Adapt to the speed since the last read: all that it brought has been given to handlers."""
        if self._there:
            speed = self._there / max(time.monotonic() - self._read_at, 1e-6)
            self.count = max(min(round(speed * _AHEAD), _GROWTH * self.count, self._limit), 1)

    def after_read(self, there: int) -> None:
        """Measure the speed from now on, at which the events that are `there` are taken."""
        self._read_at, self._there = time.monotonic(), there


class Ask(NamedTuple):
    """A request to read ahead of one of several shards."""

    most: int
    """Events at most; 0: only acknowledge what is done."""
    block: float
    """Seconds to wait for new ones at Redis."""
    is_alone: bool = False
    """True if an event that was begun before may be claimed, since no other is ahead."""
    is_adaptive: bool = True
    """True if it is to be no more than what is handled within a second."""
