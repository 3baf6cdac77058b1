"""Rate limit (token bucket): a number of deliveries per second, with a burst of one second's worth. Pure."""

from __future__ import annotations


class TokenBucket:
    """Tokens that refill with time. `now` is seconds of any monotonic clock."""

    def __init__(self, rate: float, now: float) -> None:
        """Start with a full bucket; `rate` is tokens per second."""
        self._rate = rate
        self._size = max(rate, 1.0)
        self._tokens = self._size
        self._at = now

    def available(self, now: float) -> int:
        """Return the number of tokens that can be taken."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens + 1e-9)  # 0.1 s at 10 per second is one token in spite of float rounding

    def take(self) -> None:
        """Take a token, which must be available."""
        self._tokens -= 1

    def put_back(self) -> None:
        """Return one that was taken and not used."""
        self._tokens += 1

    def wait(self, now: float) -> float:
        """Return the seconds until a token is available."""
        return 0.0 if self.available(now) else (1 - self._tokens) / self._rate
