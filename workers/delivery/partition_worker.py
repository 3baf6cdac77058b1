"""The deliver job: drains the lanes of one partition.

    PartitionWorker   waits until lanes of its partition are marked ready; runs a `LaneWorker` for each of them
    LaneWorker        keeps as many POSTs of its lane in flight as flow control allows (`workers.delivery.lane_worker`)
    Settler           writes the verdicts, in batches over all lanes (`relay.store.lanes.settler`)

Lanes are independent: a slow subscriber delays only its own deliveries.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.circuit_breaker import Limits as BreakerLimits
from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS, Timings
from relay.store import wakeups
from relay.store.driver.client import retry_until_redis_answers
from relay.store.lanes.lane import wait_ready
from relay.store.lanes.settler import Settler
from relay.store.lanes.suspensions import Suspensions
from workers.delivery.lane_worker import LaneWorker
from workers.delivery.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.lease import Lease
    from workers.transport.sender import Sender

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PartitionWorker:
    """The deliver job of any partition."""

    redis: Redis
    rules: ConfigFile
    sender: Sender
    clock: Callable[[], float]
    """Unix seconds."""
    random: Callable[[], float]
    """A number in [0, 1)."""
    timings: Timings = DEFAULTS
    breaker_limits: BreakerLimits = field(default_factory=BreakerLimits)

    async def drain(self, partition: int, lease: Lease, stop: asyncio.Event) -> None:
        """Deliver for the lanes of `partition` until all are idle, `stop` is set, or the lease is lost."""
        async with Settler(self.redis, wakeups.deliver(partition).job_id, lease.token) as settler:
            shift = Session(
                self.redis,
                self.sender,
                settler,
                lease,
                stop,
                self.clock,
                self.random,
                self.timings,
                self.breaker_limits,
            )
            drains = _LaneWorkers(shift, partition, self.rules)
            try:
                await self._supervise(drains, partition, shift)
            finally:
                await drains.end()

    async def _supervise(self, drains: _LaneWorkers, partition: int, shift: Session) -> None:
        loop, holds, timings = asyncio.get_running_loop(), Suspensions(self.redis), self.timings
        began = busy_at = loop.time()
        while not shift.is_over:
            drains.follow_rules()
            drains.revive()
            drains.follow_pauses(await retry_until_redis_answers("reading pauses", holds.pauses))
            wait = partial(wait_ready, self.redis, partition, timings.ready_poll)
            for name in await retry_until_redis_answers("waiting for lanes", wait, drains.resync):
                drains.wake(name)
            now = loop.time()
            if drains.are_busy:
                busy_at = now
            ran = now - began
            if now - busy_at > timings.idle or (ran > timings.run and not drains.have_posts) or ran > timings.max_run:
                return


class _LaneWorkers:
    """The lane drains of one partition, kept in step with relay.toml."""

    def __init__(self, shift: Session, partition: int, rules: ConfigFile) -> None:
        self._shift = shift
        self._partition = partition
        self._rules = rules
        self._running: dict[str, tuple[LaneWorker, asyncio.Task[None]]] = {}
        self._seen: object = None

    def follow_rules(self) -> None:
        """Ends the drains of subscriptions that are gone or changed, and starts those that are new or changed."""
        loaded = self._rules.current
        if loaded is self._seen:
            return
        self._seen = loaded
        wanted = {s.name: s for s in loaded.config.subscriptions if wakeups.partition_of(s.name) == self._partition}
        for name, (drain, _) in self._running.items():
            if name not in wanted or not drain.serves(wanted[name], loaded.endpoints[name]):
                drain.end()
        for name, subscription in wanted.items():
            former = self._running.get(name)
            if former is None or former[0].is_ending:
                self._start(subscription, loaded.endpoints[name], former[1] if former else None)

    def _start(self, subscription: Subscription, endpoint: Endpoint, after: asyncio.Task[None] | None) -> None:
        drain = LaneWorker(self._shift, subscription, endpoint)
        task = asyncio.create_task(drain.run(after), name=f"lane {subscription.name}")
        self._running[subscription.name] = drain, task

    def revive(self) -> None:
        """Starts drains again that broke, which is a bug of ours; their lanes must not stand still for it."""
        loaded = self._rules.current
        for subscription in loaded.config.subscriptions:
            drain, task = self._running.get(subscription.name, (None, None))
            if drain is None or task is None or not task.done() or task.cancelled() or task.exception() is None:
                continue
            log.error("lane.error", subscription=subscription.name, exc_info=task.exception())
            self._start(subscription, loaded.endpoints[subscription.name], None)

    def follow_pauses(self, paused: Container[str]) -> None:
        """Pauses and resumes drains."""
        for name, (drain, _) in self._running.items():
            drain.pause(is_paused=name in paused)

    def wake(self, name: str) -> None:
        """Tells a lane that there is something new for it."""
        if name in self._running:
            self._running[name][0].wake()

    def resync(self) -> None:
        """Redis was away: it may have come back with less than it had told us."""
        for drain, _ in self._running.values():
            drain.resync()

    @property
    def are_busy(self) -> bool:
        """Whether any lane has something to do."""
        return any(drain.is_busy for drain, _ in self._running.values())

    @property
    def have_posts(self) -> bool:
        """Whether any lane has a POST in flight."""
        return any(drain.in_flight for drain, _ in self._running.values())

    async def end(self) -> None:
        """Lets what is in flight end, for a bounded time; the rest stays pending for the next holder."""
        for drain, _ in self._running.values():
            drain.end()
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self._shift.timings.grace)
        await asyncio.gather(*map(end_task, tasks))
