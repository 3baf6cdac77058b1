"""A shift: what the drains of one partition share for as long as the partition's lease is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.core.delivery.circuit_breaker import Limits as BreakerLimits
    from relay.process.timings import Timings
    from relay.store.driver.lease import Lease
    from relay.store.lanes.settler import Settler
    from workers.transport.sender import Sender


@dataclass(frozen=True, slots=True)
class Session:
    """Everything a lane's drain works with, its subscription apart."""

    redis: Redis
    sender: Sender
    settler: Settler
    lease: Lease
    stop: asyncio.Event
    """Set when the process is to end."""
    clock: Callable[[], float]
    """Unix seconds."""
    random: Callable[[], float]
    """A number in [0, 1)."""
    timings: Timings
    breaker_limits: BreakerLimits

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return round(self.clock() * 1000)

    @property
    def is_over(self) -> bool:
        """Whether nothing new may be started: the process or the lease has come to its end."""
        return self.stop.is_set() or self.lease.lost.is_set()
