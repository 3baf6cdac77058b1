"""The lane workers of one partition: one for each lane that has work, kept up to date with relay.toml.

    begins    the partition is looked at: lanes with unread or pending deliveries, those to repair, and shadows
    ready     a lane is marked: it has new deliveries
    at rest   a lane that had nothing to do for a while has no worker any more

A lane without work costs nothing, however many there are. The lanes that start at the same moment are looked at
together (`relay.store.lanes.many.look`), and so are the running ones now and then, for pending deliveries that every
other mechanism has missed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.process.tasks import end_task
from relay.store import wakeups
from relay.store.driver.client import retry_until_redis_answers
from relay.store.isolation import Isolation
from relay.store.lanes.attempts.log import save_last_successes
from relay.store.lanes.many.look import LanePlace, look_at_lanes
from relay.store.lanes.ready import wait_ready
from relay.store.lanes.suspensions import Suspensions
from workers.delivery.lane_worker import LaneWorker
from workers.delivery.session import Stored
from workers.delivery.sharing.lane_worker import SharingLaneWorker

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from relay.config.file import Loaded, RulesInForce
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.store.lanes.many.look import LaneLook
    from workers.delivery.session import Session
    from workers.delivery.sharing.ready import SharedReady

_SAVE_INTERVAL = 5.0  # seconds

log = structlog.get_logger()


class LaneWorkers:
    """The lane workers of one partition."""

    def __init__(self, session: Session, partition: int, rules: RulesInForce) -> None:
        self._session = session
        self._redis = session.redis
        self._partition = partition
        self._rules = rules
        self._running: dict[str, tuple[LaneWorker, asyncio.Task[None]]] = {}
        self._wanted: set[str] = set()
        """Lanes that need a worker, whether or not they have one."""
        self._paused: Container[str] = ()
        self._lane_worker = LaneWorker if session.course is None else SharingLaneWorker
        self._isolation = Isolation(session.redis)
        self._suspensions = Suspensions(session.home)
        self._gate = None if session.course is None else session.course.gate
        self._closed: frozenset[str] = frozenset()
        self._loaded: Loaded | None = None
        self._is_unseen = True  # which lanes have work
        self._configured: dict[str, tuple[Subscription, Endpoint]] = {}
        self._loop = asyncio.get_running_loop()
        self._count_at = self._loop.time() + session.timings.pending_count
        self._save_at = 0.0  # time of the loop's clock

    def follow_rules(self) -> None:
        """Replace the workers of changed subscriptions, end those of removed ones; look at all lanes of new rules."""
        loaded = self._rules.current
        if loaded is self._loaded:
            return
        self._loaded = loaded
        self._is_unseen = True
        self._closed = self._closed_lanes(loaded)
        compared = loaded.config.compared
        self._configured = {
            subscription.name: (
                subscription,
                replace(loaded.endpoints[subscription.name], keeps_answers=True)
                if subscription.name in compared
                else loaded.endpoints[subscription.name],
            )
            for subscription in self._of_partition(loaded)
            if subscription.name not in self._closed
        }
        self._wanted &= self._configured.keys()
        # A shadow is marked when its worker starts: its original must not wait for it after it is removed.
        self._wanted |= self._configured.keys() & loaded.config.shadows.keys()
        for name, (worker, task) in list(self._running.items()):
            if name in self._configured and worker.serves(*self._configured[name]):
                continue
            worker.end()
            if name in self._wanted:
                self._start(name, after=task)

    async def follow_gate(self) -> None:
        """Let ordered lanes of a new shard start once what their chats have on the former shards is settled."""
        if self._gate is None:
            return
        looking = partial(self._gate.look, self._of_partition(self._rules.current))
        await retry_until_redis_answers("looking at the order of chats", looking, self.resync)
        if self._closed_lanes(self._rules.current) != self._closed:
            self._loaded = None  # so that the rules are followed again

    def _of_partition(self, loaded: Loaded) -> list[Subscription]:
        subscriptions = loaded.config.subscriptions
        return [each for each in subscriptions if wakeups.partition_of(each.name) == self._partition]

    def _closed_lanes(self, loaded: Loaded) -> frozenset[str]:
        if self._gate is None:
            return frozenset()
        gate, shard = self._gate, self._session.shard
        return frozenset(each.name for each in self._of_partition(loaded) if not gate.is_open(shard, each))

    async def start_wanted(self) -> None:
        """Start a worker for each lane that needs one and has none, or one that was ended or failed."""
        if self._is_unseen:
            self._is_unseen = False
            found = await self._look(self._configured)
            self._wanted |= found.keys() & self._configured.keys()  # which may be others by now
        starting: list[str] = []
        for name in self._wanted:
            worker, task = self._running.get(name, (None, None))
            if worker is None or task is None:
                starting.append(name)
            elif worker.is_ending:
                self._start(name, after=task)
            elif task.done() and not task.cancelled() and (error := task.exception()) is not None:
                log.error("lane.error", subscription=name, exc_info=error)
                self._start(name)
        if starting:
            await self._start_together(starting)

    async def _start_together(self, names: list[str]) -> None:
        """Start workers with what Redis has of their lanes; one whose rules change meanwhile reads it by itself."""
        configured = {name: self._configured[name] for name in names}
        looks = await self._look(names)
        breakers = await retry_until_redis_answers("reading breakers", self._suspensions.open_breakers, self.resync)
        for name in names:
            if name not in self._configured:
                continue
            look = looks.get(name)
            if (look is not None and look.is_special) or self._configured[name] != configured[name]:
                self._start(name)
            else:
                pending, retrying = (look.pending, look.retrying) if look else (0, 0)
                self._start(name, Stored(pending, retrying, name in self._paused, breakers.get(name)))

    async def _look(self, names: Iterable[str]) -> Mapping[str, LaneLook]:
        topics = {name: self._configured[name][0].topic for name in names}
        places = [LanePlace(name, self._redis.key.topic(topic)) for name, topic in topics.items()]
        looking = partial(look_at_lanes, self._redis, places)
        return await retry_until_redis_answers("looking at lanes", looking, self.resync)

    def _start(self, name: str, stored: Stored | None = None, after: asyncio.Task[None] | None = None) -> None:
        """Start the worker of a lane; after an error, `start_wanted` tries again."""
        try:
            worker = self._lane_worker(self._session, *self._configured[name], stored)
        except Exception:  # any bug: the other lanes of the partition must start
            log.exception("lane.error", subscription=name)
            return
        self._running[name] = worker, asyncio.create_task(worker.run(after), name=f"lane {name}")

    def follow_pauses(self, paused: Container[str], as_of: float) -> None:
        """Pause and resume lanes as operators demanded at `as_of`, time of the loop's clock."""
        self._paused = paused
        for name, (worker, _) in self._running.items():
            worker.pause(is_paused=name in paused, as_of=as_of)

    async def wait_ready(self, shared: SharedReady | None = None) -> None:
        """Wake the lanes with new events, once there are any, or all if the set of them is not readable.

        `shared` waits for other shards too.
        """
        redis, timeout = self._redis, self._session.timings.ready_poll
        ready = redis.key.ready(self._partition)
        reading = shared.wait(self._session.shard) if shared else wait_ready(redis, self._partition, timeout)
        names = await self._isolation.contain("partition", ready, reading, {ready: "zset"})
        if names is None:
            self._is_unseen = True
            names = list(self._running)
            await asyncio.sleep(timeout)
        for name in names:
            if name in self._running:
                self._running[name][0].wake()
            if name in self._configured:
                self._wanted.add(name)

    def resync(self) -> None:
        """Make every lane search for orphans: Redis was away, and may have lost writes that it had confirmed.

        Whichever step of the partition meets the outage calls it: the others may not.
        """
        self._is_unseen = True
        for worker, _ in self._running.values():
            worker.resync()

    async def count(self) -> None:
        """Compare now and then what is pending in Redis with what the workers have in hand."""
        if self._loop.time() < self._count_at:
            return
        self._count_at = self._loop.time() + self._session.timings.pending_count
        running = {name: worker for name, (worker, _) in self._running.items() if name in self._configured}
        in_hand = {name: worker.source.in_hand for name, worker in running.items()}
        looks = await self._look(in_hand)
        for name, count in in_hand.items():
            running[name].counted(looks.get(name), count)

    async def save_successes(self) -> None:
        """Store the times of the last successes now and then, and not for each: they are for operators."""
        if self._loop.time() < self._save_at:
            return
        self._save_at = self._loop.time() + _SAVE_INTERVAL
        found = {
            name: at_ms for name, (worker, _) in self._running.items() if (at_ms := worker.settling.take_last_success())
        }
        if found:
            saving = partial(save_last_successes, self._redis, found)
            await retry_until_redis_answers("saving the last successes", saving, self.resync)

    def end_at_rest(self) -> None:
        """End the workers of lanes that had nothing to do for a while, and forget those that have ended."""
        shadows = self._rules.current.config.shadows
        for name, (worker, task) in list(self._running.items()):
            if task.done() and name not in self._wanted:
                del self._running[name]
            elif name not in shadows and worker.was_at_rest(self._session.timings.idle):
                self._wanted.discard(name)
                worker.end()

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
