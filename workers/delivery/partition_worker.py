"""The deliver job: drains the lanes of one partition.

    PartitionWorker   waits until lanes of its partition are marked ready
    LaneWorkers       runs a `LaneWorker` for each lane that has work (`workers.delivery.lane_workers`)
    LaneWorker        keeps as many POSTs of its lane in flight as flow control allows (`workers.delivery.flow_control`)
    Settler           writes the verdicts, in batches over all lanes (`relay.store.lanes.settler`)

Lanes are independent: a slow subscriber delays only its own deliveries.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from relay.core.delivery.circuit_breaker import Limits as BreakerLimits
from relay.metrics.worker_metrics import WorkerMetrics
from relay.process.timings import DEFAULTS, Timings
from relay.store import wakeups
from relay.store.driver.client import retry_until_redis_answers
from relay.store.lanes.many.read import LaneReads
from relay.store.lanes.settler import Settler
from relay.store.lanes.suspensions import Suspensions
from workers.delivery.lane_workers import LaneWorkers
from workers.delivery.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.inbox.hand_over import Receivers
    from workers.transport.sender import Sender


@dataclass(frozen=True, slots=True)
class PartitionWorker:
    """The deliver job's parts; `drain` works for any partition."""

    redis: Redis
    rules: RulesInForce
    sender: Sender
    clock: Callable[[], float]
    """Unix seconds."""
    random: Callable[[], float]
    """A number in [0, 1)."""
    timings: Timings = DEFAULTS
    breaker_limits: BreakerLimits = field(default_factory=BreakerLimits)
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics.unscraped)
    receivers: Receivers = field(default_factory=dict)
    """The lanes to which the router of this process hands events over."""
    draining: list[LaneWorkers] = field(default_factory=list)
    """The lane workers of the drains that run."""

    async def drain(self, partition: int, lease: Lease, stop: asyncio.Event) -> None:
        """Deliver for the lanes of `partition` until all are idle, `stop` is set, or the lease is lost."""
        job_id = wakeups.deliver(self.redis.key, partition).job_id
        async with (
            LaneReads(self.redis, job_id, lease.token) as reads,
            Settler(self.redis, job_id, lease.token) as settler,
        ):
            session = Session(
                self.redis,
                self.sender,
                reads,
                settler,
                lease,
                stop,
                self.clock,
                self.random,
                self.timings,
                self.breaker_limits,
                self.metrics,
                self.receivers,
            )
            lanes = LaneWorkers(session, partition, self.rules)
            self.draining.append(lanes)
            try:
                await self._supervise(lanes, session)
            finally:
                await lanes.end()
                self.draining.remove(lanes)

    def follow_rules(self) -> None:
        """Begin no further delivery by rules that are no longer in force."""
        for lanes in self.draining:
            lanes.follow_rules()

    def in_flight(self) -> dict[str, int]:
        """Return the number of deliveries in flight, by subscription."""
        return {name: posts for lanes in self.draining for name, posts in lanes.in_flight().items()}

    async def _supervise(self, lanes: LaneWorkers, session: Session) -> None:
        loop, suspensions, timings = asyncio.get_running_loop(), Suspensions(self.redis), self.timings
        began = busy_at = loop.time()
        while not session.is_over:
            lanes.follow_rules()
            as_of = loop.time()
            paused = await retry_until_redis_answers("reading pauses", suspensions.pauses, lanes.resync)
            lanes.follow_pauses(paused, as_of)
            await lanes.start_wanted()
            await lanes.count()
            await lanes.save_successes()
            lanes.end_at_rest()
            wait = partial(lanes.wait_ready, self.redis)
            await retry_until_redis_answers("waiting for lanes", wait, lanes.resync)
            now = loop.time()
            if lanes.are_busy:
                busy_at = now
            ran = now - began
            if now - busy_at > timings.idle or (ran > timings.run and not lanes.have_posts) or ran > timings.max_run:
                return
