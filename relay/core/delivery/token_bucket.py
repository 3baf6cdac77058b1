"""A rate limit: so many a second, and after a quiet time a second's worth at once. Pure."""

from __future__ import annotations


class TokenBucket:
    """Tokens that come back with time. `now` is seconds of any clock that does not go backwards."""

    def __init__(self, rate: float, now: float) -> None:
        """`rate` is tokens a second."""
        self._rate = rate
        self._size = max(rate, 1.0)
        self._tokens = self._size
        self._at = now

    def available(self, now: float) -> int:
        """How many can be taken."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens + 1e-9)  # a tenth of a second at ten a second is one, whatever floats say

    def take(self) -> None:
        """Takes one that is available."""
        self._tokens -= 1

    def put_back(self) -> None:
        """Return one that was taken and not used."""
        self._tokens += 1

    def wait(self, now: float) -> float:
        """Seconds until one is available."""
        return 0.0 if self.available(now) else (1 - self._tokens) / self._rate
