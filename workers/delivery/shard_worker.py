"""The deliver job: drains the lanes of one slot.

    Deliverer    waits for lanes of its slot to be marked ready, keeps a `LaneDrain` for each of their subscriptions
    LaneDrain    keeps as many POSTs of its lane in flight as its gate lets through (`workers.delivery.lane_worker`)
    Settler      writes the verdicts, in batches over all lanes (`relay.store.lanes.settler`)

A lane looks after itself: a slow one has its own deliveries in flight and nobody else's.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.process.tasks import end_task
from relay.store import wakeups
from relay.store.driver.client import persistently
from relay.store.lanes.lane import wait_ready
from relay.store.lanes.settler import Settler
from relay.store.lanes.suspensions import Holds
from workers.delivery.lane_worker import LaneDrain
from workers.delivery.session import Shift

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.lease import Lease
    from workers.transport.sender import Sender

_LINGER = 30.0  # seconds without work before the job ends
_RUN = 60.0  # seconds before the job ends at a quiet moment and is rung again, so that another worker can have it
_LONGEST_RUN = 3600.0  # seconds before it does so at any moment
_LOOK = 1.0  # seconds between two looks at the clock and the rules while nothing is ready
GRACE = 20.0
"""Seconds that POSTs in flight have to end when the job has to: twice the time that an attempt may take by default."""


log = structlog.get_logger()


class Deliverer:
    """What the deliver job of any slot works with."""

    def __init__(
        self,
        redis: Redis,
        rules: ConfigFile,
        sender: Sender,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds, `random` a number in [0, 1)."""
        self._redis = redis
        self._rules = rules
        self._sender = sender
        self._clock = clock
        self._random = random

    async def drain(self, slot: int, lease: Lease, stop: asyncio.Event) -> None:
        """Delivers for the lanes of `slot` until they are idle for a while, it is stopped, or the lease is lost."""
        async with Settler(self._redis, wakeups.deliver(slot).job_id, lease.token) as settler:
            shift = Shift(self._redis, self._sender, settler, lease, stop, self._clock, self._random)
            drains = _Drains(shift, slot, self._rules)
            try:
                await self._supervise(drains, slot, shift)
            finally:
                await drains.end()

    async def _supervise(self, drains: _Drains, slot: int, shift: Shift) -> None:
        loop, holds = asyncio.get_running_loop(), Holds(self._redis)
        began = busy_at = loop.time()
        while not shift.is_over:
            drains.follow_rules()
            drains.revive()
            drains.follow_pauses(await persistently("reading pauses", holds.pauses))
            wait = partial(wait_ready, self._redis, slot, _LOOK)
            for name in await persistently("waiting for lanes", wait, drains.suspect):
                drains.wake(name)
            now = loop.time()
            if drains.are_busy:
                busy_at = now
            ran = now - began
            if now - busy_at > _LINGER or (ran > _RUN and not drains.have_posts) or ran > _LONGEST_RUN:
                return


class _Drains:
    """The lane drains of one slot, kept in step with relay.toml."""

    def __init__(self, shift: Shift, slot: int, rules: ConfigFile) -> None:
        self._shift = shift
        self._slot = slot
        self._rules = rules
        self._running: dict[str, tuple[LaneDrain, asyncio.Task[None]]] = {}
        self._seen: object = None

    def follow_rules(self) -> None:
        """Ends the drains of subscriptions that are gone or changed, and starts those that are new or changed."""
        loaded = self._rules.current
        if loaded is self._seen:
            return
        self._seen = loaded
        wanted = {s.name: s for s in loaded.config.subscriptions if wakeups.slot_of(s.name) == self._slot}
        for name, (drain, _) in self._running.items():
            if name not in wanted or not drain.serves(wanted[name], loaded.endpoints[name]):
                drain.end()
        for name, subscription in wanted.items():
            former = self._running.get(name)
            if former is None or former[0].is_ending:
                self._start(subscription, loaded.endpoints[name], former[1] if former else None)

    def _start(self, subscription: Subscription, endpoint: Endpoint, after: asyncio.Task[None] | None) -> None:
        drain = LaneDrain(self._shift, subscription, endpoint)
        task = asyncio.create_task(drain.run(after), name=f"lane {subscription.name}")
        self._running[subscription.name] = drain, task

    def revive(self) -> None:
        """Starts drains again that broke, which is a bug of ours; their lanes must not stand still for it."""
        loaded = self._rules.current
        for subscription in loaded.config.subscriptions:
            drain, task = self._running.get(subscription.name, (None, None))
            if drain is None or task is None or not task.done() or task.cancelled() or task.exception() is None:
                continue
            log.error("lane.broken", subscription=subscription.name, exc_info=task.exception())
            self._start(subscription, loaded.endpoints[subscription.name], None)

    def follow_pauses(self, paused: Container[str]) -> None:
        """Pauses and resumes drains."""
        for name, (drain, _) in self._running.items():
            drain.pause(is_paused=name in paused)

    def wake(self, name: str) -> None:
        """Tells a lane that there is something new for it."""
        if name in self._running:
            self._running[name][0].wake()

    def suspect(self) -> None:
        """Redis was away: it may have come back with less than it had told us."""
        for drain, _ in self._running.values():
            drain.suspect()

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
            await asyncio.wait(tasks, timeout=GRACE)
        await asyncio.gather(*map(end_task, tasks))
