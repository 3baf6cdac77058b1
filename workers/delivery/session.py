"""Session: the parts that the lane workers of one partition share while they have the partition's lease."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from relay.core.delivery.circuit_breaker import Limits as BreakerLimits
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.metrics.worker_metrics import WorkerMetrics
    from relay.process.timings import Timings
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.inbox.reading.hand_over import Receivers
    from relay.store.lanes.many.read import LaneReads
    from relay.store.lanes.settler import Settler
    from workers.delivery.sharing.course import Course
    from workers.transport.sender import Sender


@dataclass(frozen=True, slots=True)
class Session:
    """The parts of a lane worker, without its subscription."""

    redis: Redis
    sender: Sender
    reads: LaneReads
    settler: Settler
    lease: Lease
    stop: asyncio.Event
    """Set when the process must end."""
    clock: Callable[[], float]
    """Unix seconds."""
    random: Callable[[], float]
    """A number in [0, 1)."""
    timings: Timings
    breaker_limits: BreakerLimits
    metrics: WorkerMetrics
    receivers: Receivers = field(default_factory=dict)
    """The lanes to which the router of this process hands events over."""
    course: Course | None = None
    """The course that it shares with the sessions of other shards; None if there is one shard."""
    shard: int = 0
    """The number of the shard."""

    @property
    def home(self) -> Redis:
        """The shard that has the pauses and the open breakers."""
        return self.redis if self.course is None else self.course.home

    @property
    def is_sure(self) -> bool:
        """True if no other worker can have its leases."""
        return self.lease.is_sure and (self.course is None or self.course.lease.is_sure)

    def now_ms(self) -> int:
        """Return the time, Unix milliseconds."""
        return round(self.clock() * 1000)

    @property
    def is_over(self) -> bool:
        """True if no new work may be started: the process is stopping or the lease is lost."""
        if self.course is not None and (self.course.is_over or self.course.lease.lost.is_set()):
            return True
        return self.stop.is_set() or self.lease.lost.is_set()


class Stored(NamedTuple):
    """State of a lane in Redis when its worker starts."""

    pending: int
    """Deliveries that are not settled."""
    retrying: int
    """Pending deliveries that wait for a retry."""
    is_paused: bool
    breaker: OpenBreaker | None
