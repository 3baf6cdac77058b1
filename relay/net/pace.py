"""Rate of bytes that is kept by pauses: a token bucket that may be overdrawn, and is waited out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Bytes a second for all senders together: a sender beyond the rate waits until it has room again."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        """`rate` is in bytes a second, `burst` in bytes at once after a quiet time; `clock` returns seconds."""
        self._rate, self._burst, self._clock = rate, burst, clock
        self._paid_at = clock() - burst / rate

    def take(self, size: int) -> float:
        """Take `size` bytes; return the seconds to wait before they are worked on."""
        now = self._clock()
        self._paid_at = max(self._paid_at, now - self._burst / self._rate) + size / self._rate
        return max(0.0, self._paid_at - now)
