"""The deliver job: drains the lanes of one partition.

    PartitionWorker   waits until lanes of its partition are marked ready; runs a `LaneWorker` for each lane
    LaneWorker        keeps as many POSTs of its lane in flight as flow control allows (`workers.delivery.flow_control`)
    Settler           writes the verdicts, in batches over all lanes (`relay.store.lanes.settler`)

Lanes are independent: a slow subscriber delays only its own deliveries.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.circuit_breaker import Limits as BreakerLimits
from relay.metrics.worker_metrics import WorkerMetrics
from relay.process.tasks import end_task
from relay.process.timings import DEFAULTS, Timings
from relay.store import wakeups
from relay.store.driver.client import retry_until_redis_answers
from relay.store.isolation import Isolation
from relay.store.lanes.ready import wait_ready
from relay.store.lanes.settler import Settler
from relay.store.lanes.suspensions import Suspensions
from workers.delivery.lane_worker import LaneWorker
from workers.delivery.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from relay.config.file import Loaded, RulesInForce
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.inbox.hand_over import Receivers
    from workers.transport.sender import Sender

log = structlog.get_logger()


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
    draining: list[_LaneWorkers] = field(default_factory=list)
    """The lane workers of the drains that run."""

    async def drain(self, partition: int, lease: Lease, stop: asyncio.Event) -> None:
        """Deliver for the lanes of `partition` until all are idle, `stop` is set, or the lease is lost."""
        async with Settler(self.redis, wakeups.deliver(self.redis.key, partition).job_id, lease.token) as settler:
            session = Session(
                self.redis,
                self.sender,
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
            lanes = _LaneWorkers(session, partition, self.rules)
            self.draining.append(lanes)
            try:
                await self._supervise(lanes, session)
            finally:
                await lanes.end()
                self.draining.remove(lanes)

    def in_flight(self) -> dict[str, int]:
        """Return the number of deliveries in flight, by subscription."""
        return {name: posts for lanes in self.draining for name, posts in lanes.in_flight().items()}

    async def _supervise(self, lanes: _LaneWorkers, session: Session) -> None:
        loop, suspensions, timings = asyncio.get_running_loop(), Suspensions(self.redis), self.timings
        began = busy_at = loop.time()
        while not session.is_over:
            lanes.follow_rules()
            lanes.start_missing()
            lanes.follow_pauses(await retry_until_redis_answers("reading pauses", suspensions.pauses))
            wait = partial(lanes.wait_ready, self.redis)
            await retry_until_redis_answers("waiting for lanes", wait, lanes.resync)
            now = loop.time()
            if lanes.are_busy:
                busy_at = now
            ran = now - began
            if now - busy_at > timings.idle or (ran > timings.run and not lanes.have_posts) or ran > timings.max_run:
                return


class _LaneWorkers:
    """The lane workers of one partition, kept up to date with relay.toml."""

    def __init__(self, session: Session, partition: int, rules: RulesInForce) -> None:
        self._session = session
        self._partition = partition
        self._rules = rules
        self._running: dict[str, tuple[LaneWorker, asyncio.Task[None]]] = {}
        self._isolation = Isolation(session.redis)
        self._loaded: Loaded | None = None
        self._configured: dict[str, tuple[Subscription, Endpoint]] = {}

    def follow_rules(self) -> None:
        """End the workers of removed or changed subscriptions."""
        loaded = self._rules.current
        if loaded is self._loaded:
            return
        self._loaded = loaded
        compared = loaded.config.compared
        self._configured = {
            subscription.name: (
                subscription,
                replace(loaded.endpoints[subscription.name], keeps_answers=True)
                if subscription.name in compared
                else loaded.endpoints[subscription.name],
            )
            for subscription in loaded.config.subscriptions
            if wakeups.partition_of(subscription.name) == self._partition
        }
        for name, (worker, _) in self._running.items():
            if name not in self._configured or not worker.serves(*self._configured[name]):
                worker.end()

    def start_missing(self) -> None:
        """Start a worker for each lane without one: a new or changed subscription, or one whose worker a bug ended."""
        for name in self._configured:
            worker, task = self._running.get(name, (None, None))
            if worker is None or task is None or worker.is_ending:
                self._start(name, task)
            elif task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.error("lane.error", subscription=name, exc_info=error)
                self._start(name)

    def _start(self, name: str, after: asyncio.Task[None] | None = None) -> None:
        """Start the worker of a lane; after an error, `start_missing` tries again."""
        try:
            worker = LaneWorker(self._session, *self._configured[name])
        except Exception:  # any bug: the other lanes of the partition must start
            log.exception("lane.error", subscription=name)
            return
        self._running[name] = worker, asyncio.create_task(worker.run(after), name=f"lane {name}")

    def follow_pauses(self, paused: Container[str]) -> None:
        """Pause and resume lanes as operators demand."""
        for name, (worker, _) in self._running.items():
            worker.pause(is_paused=name in paused)

    async def wait_ready(self, redis: Redis) -> None:
        """Wake the workers of lanes with new events, once there are any, or all if the set of them is not readable."""
        ready, timeout = redis.key.ready(self._partition), self._session.timings.ready_poll
        reading = wait_ready(redis, self._partition, timeout)
        names = await self._isolation.contain("partition", ready, reading, {ready: "zset"})
        if names is None:
            names = list(self._running)
            await asyncio.sleep(timeout)
        for name in names:
            if name in self._running:
                self._running[name][0].wake()

    def resync(self) -> None:
        """Make every lane search for orphans: Redis was away, and may have lost what it had confirmed."""
        for worker, _ in self._running.values():
            worker.resync()

    @property
    def are_busy(self) -> bool:
        """True if a lane has work."""
        return any(worker.is_busy for worker, _ in self._running.values())

    def in_flight(self) -> dict[str, int]:
        """Return the number of deliveries in flight, by subscription."""
        return {name: posts for name, (worker, _) in self._running.items() if (posts := len(worker.in_flight))}

    @property
    def have_posts(self) -> bool:
        """True if a lane has a POST in flight."""
        return any(worker.has_posts for worker, _ in self._running.values())

    async def end(self) -> None:
        """Give the POSTs in flight time to end; the other deliveries stay pending for the next worker."""
        for worker, _ in self._running.values():
            worker.end()
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self._session.timings.grace)
        await asyncio.gather(*map(end_task, tasks))
