"""The number of events that a member reads ahead: what it handles within a second."""

from __future__ import annotations

import time

from ..names import MAX_PREFETCH, PREFETCH

_AHEAD = 1.0  # seconds of handling
_GROWTH = 4
"""Factor by which it grows at most from one read to the next."""


class Prefetch:
    """An adaptive number of events: `PREFETCH` at first, then between 1 and `MAX_PREFETCH`, or `limit` if that is less.

    A member that is slow leaves events to the others, and one that is fast needs few round trips.
    """

    def __init__(self, limit: int) -> None:
        self._limit = min(limit, MAX_PREFETCH)
        self.count = min(PREFETCH, self._limit)
        self._read_at, self._taken = 0.0, 0

    def took(self) -> None:
        """Count an event that was given to a handler."""
        self._taken += 1

    def before_read(self) -> None:
        """Adapt to the speed since the last read."""
        if self._taken:
            speed = self._taken / max(time.monotonic() - self._read_at, 1e-6)
            self.count = max(min(round(speed * _AHEAD), _GROWTH * self.count, self._limit), 1)

    def after_read(self) -> None:
        """Measure the speed from now on."""
        self._read_at, self._taken = time.monotonic(), 0
