"""The deliver job: drains the lanes of one partition.

    PartitionWorker   waits until lanes of its partition are marked ready
    LaneWorkers       runs a `LaneWorker` for each lane that has work (`workers.delivery.lane_workers`)
    LaneWorker        keeps as many POSTs of its lane in flight as flow control allows (`workers.delivery.flow_control`)
    Settler           writes the verdicts, in batches over all lanes (`relay.store.lanes.settler`)

Lanes are independent: a slow subscriber delays only its own deliveries.

With several shards the job of one partition drains its lanes on all of them, so that flow control of a subscription
holds as a whole, and shards on one server share their batches (`workers.delivery.sharing`). The job may be queued on
any shard; whichever is run first does the work. The leases on the others keep theirs queued meanwhile, and take them
back at the end, before what is left is looked for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.core.delivery.circuit_breaker import Limits as BreakerLimits
from relay.metrics.worker_metrics import WorkerMetrics
from relay.process.tasks import end_task, wait_for_event
from relay.process.timings import DEFAULTS, Timings
from relay.store import wakeups
from relay.store.driver.client import REDIS_ERRORS, retry_until_redis_answers
from relay.store.driver.lease import LeaseTaken, acquire_lease
from relay.store.lanes.many.read import LaneReads
from relay.store.lanes.settler import Settler
from workers.delivery.lane_workers import LaneWorkers
from workers.delivery.session import Session
from workers.delivery.sharing.course import Course
from workers.delivery.sharing.one_server import shared_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from relay.config.file import RulesInForce
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from relay.store.inbox.reading.hand_over import Receivers
    from workers.transport.sender import Sender

log = structlog.get_logger()


class Shard(NamedTuple):
    """A shard, and the lanes there to which its router in this process hands events over."""

    redis: Redis
    receivers: Receivers


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
    others: tuple[Shard, ...] = ()
    """The shards beside the first one."""
    replicas: int = 0
    """Replicas that must confirm each renewal of a lease there."""
    draining: list[LaneWorkers] = field(default_factory=list)
    """The lane workers of the drains that run."""
    jobs: set[str] = field(default_factory=set)
    """The jobs whose work these drains do, on every shard."""

    async def drain(self, partition: int, lease: Lease, stop: asyncio.Event) -> None:
        """Deliver for the lanes of `partition` until all are idle, `stop` is set, or the lease is lost.

        With several shards `lease` is that of the first one, which gives the right to the partition on all of them. The
        others have leases as well, which fence what is read and settled there. A shard that does not answer is waited
        for, and the others continue.
        """
        course = Course(self.redis, lease, self.timings)
        if not self.others:
            await self._drain_shard(Shard(self.redis, self.receivers), partition, lease, stop, course)
            return
        shards = self.redis, *(other.redis for other in self.others)
        with self._doing({wakeups.deliver(shard.key, partition).job_id for shard in shards}):
            await self._drain_shards(shards, partition, lease, stop, course)

    @contextmanager
    def _doing(self, jobs: set[str]) -> Iterator[None]:
        self.jobs.update(jobs)
        try:
            yield
        finally:
            self.jobs.difference_update(jobs)

    async def _drain_shards(
        self, shards: Sequence[Redis], partition: int, lease: Lease, stop: asyncio.Event, course: Course
    ) -> None:
        async with shared_parts(shards, partition, self.timings.ready_poll) as course.shared:
            others = [
                asyncio.create_task(self._drain_other(number, other, partition, stop, course))
                for number, other in enumerate(self.others, start=1)
            ]
            try:
                await self._drain_shard(Shard(self.redis, self.receivers), partition, lease, stop, course)
            finally:
                course.is_over = True
                await asyncio.wait(others, timeout=self.timings.grace)
                await asyncio.gather(*map(end_task, others))

    async def _drain_other(
        self, number: int, shard: Shard, partition: int, stop: asyncio.Event, course: Course
    ) -> None:
        """Deliver for the lanes of one more shard until the course is over."""
        job_id = wakeups.deliver(shard.redis.key, partition).job_id
        while not (stop.is_set() or course.is_over or course.lease.lost.is_set()):
            try:
                async with acquire_lease(shard.redis, job_id, self.replicas, self.timings, is_job=False) as lease:
                    await self._drain_shard(shard, partition, lease, stop, course, number)
                    course.is_over = True  # also if that lease is lost: another worker has the partition
            except LeaseTaken:  # of a worker that was killed
                await wait_for_event(stop, self.timings.lease_retry)
            except Exception:  # any bug: the job ends, and is woken again
                log.exception("partition.error", partition=partition, shard=shard.redis.key.name)
                course.is_over = True

    async def _drain_shard(
        self, shard: Shard, partition: int, lease: Lease, stop: asyncio.Event, course: Course, number: int = 0
    ) -> None:
        redis, wakeup, shared = shard.redis, wakeups.deliver(shard.redis.key, partition), course.shared[number]
        async with (
            LaneReads(redis, wakeup.job_id, lease.token, shared.reads) as reads,
            Settler(redis, wakeup.job_id, lease.token, shared.settlements) as settler,
        ):
            session = Session(
                redis,
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
                shard.receivers,
                course if self.others else None,
                number,
            )
            lanes = LaneWorkers(session, partition, self.rules)
            self.draining.append(lanes)
            course.lanes.append(lanes)
            try:
                await self._supervise(lanes, session, course)
            finally:
                await lanes.end()
                self.draining.remove(lanes)
            if self.others and course.is_over and not stop.is_set():
                with suppress(*REDIS_ERRORS):  # then it finds nothing to do
                    await wakeups.withdraw(redis, wakeup)

    def follow_rules(self) -> None:
        """Begin no further delivery by rules that are no longer in force."""
        for lanes in self.draining:
            lanes.follow_rules()

    def in_flight(self) -> dict[str, int]:
        """Return the number of deliveries in flight, by subscription."""
        found: Counter[str] = Counter()
        for lanes in self.draining:
            found.update(lanes.in_flight())
        return dict(found)

    async def _supervise(self, lanes: LaneWorkers, session: Session, course: Course) -> None:
        ready = course.shared[session.shard].ready
        while not (session.is_over or course.is_over):
            await lanes.follow_gate()
            lanes.follow_rules()
            paused, as_of = await retry_until_redis_answers("reading pauses", course.pauses.read, course.resync)
            lanes.follow_pauses(paused, as_of)
            await lanes.start_wanted()
            await lanes.count()
            await lanes.save_successes()
            lanes.end_at_rest()
            wait = partial(lanes.wait_ready, ready)
            await retry_until_redis_answers("waiting for lanes", wait, lanes.resync)
            course.look()
