"""The deliver job: drains the lanes of one slot.

    Slot     waits for lanes of its slot to be marked ready, and runs a `LaneDrain` for each
    LaneDrain   keeps up to CONCURRENCY POSTs of its lane in flight: what a former holder left, then retries that are
    due, then new settle   the verdict on each POST, in shared batches

A lane looks after itself: a slow one has its own deliveries in flight and nobody else's. Everything it has read is
pending in Redis until it is settled, so a worker that dies loses nothing; the next holder of the slot finds it
(`orphans`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.outcome import Again, Attempt, GivenUp, Outcome, decide
from relay.store import bells
from relay.store.connect import persistently
from relay.store.lanes import Delivery, Lane, Ref, Tries, wait_ready
from relay.store.settler import Settlement, Settler

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.config_file import ConfigFile
    from relay.core.config import Subscription
    from relay.core.secret import SigningSecret
    from workers.lease import Lease
    from workers.sender import Sender

CONCURRENCY = 50
"""POSTs of one lane in flight; more than that and aiohttp's client slows down again (measured)."""

_LINGER = 30.0  # seconds without work before the job ends
_RUN = 60.0  # seconds before the job ends at a quiet moment and is rung again, so that another worker can have it
_LONGEST_RUN = 3600.0  # seconds before it does so at any moment
_LOOK = 1.0  # seconds between two looks at the clock and the rules while nothing is ready
GRACE = 20.0
"""Seconds that POSTs in flight have to end when the job has to; longer than any single attempt takes."""

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
        self.redis = redis
        self.rules = rules
        self.sender = sender
        self.clock = clock
        self.random = random

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return round(self.clock() * 1000)

    async def drain(self, slot: int, lease: Lease, stop: asyncio.Event) -> None:
        """Delivers for the lanes of `slot` until they are idle for a while, it is stopped, or the lease is lost."""
        async with Settler(self.redis, bells.deliver(slot).job_id, lease.token) as settler:
            drains = _Drains(self, slot, lease, settler)
            try:
                await self._supervise(drains, slot, lease, stop)
            finally:
                await drains.end()

    async def _supervise(self, drains: _Drains, slot: int, lease: Lease, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        began = busy_at = loop.time()
        while not (stop.is_set() or lease.lost.is_set()):
            drains.follow_rules()
            for name in await persistently("waiting for lanes", lambda: wait_ready(self.redis, slot, _LOOK)):
                drains.wake(name)
            now = loop.time()
            if drains.are_busy:
                busy_at = now
            ran = now - began
            quiet = not drains.have_posts
            if now - busy_at > _LINGER or (ran > _RUN and quiet) or ran > _LONGEST_RUN:
                return


class _Drains:
    """The lane drains of one slot, kept in step with relay.toml."""

    def __init__(self, deliverer: Deliverer, slot: int, lease: Lease, settler: Settler) -> None:
        self._deliverer = deliverer
        self._slot = slot
        self._lease = lease
        self._settler = settler
        self._running: dict[str, tuple[LaneDrain, asyncio.Task[None]]] = {}
        self._seen: object = None

    def follow_rules(self) -> None:
        """Ends the drains of subscriptions that are gone or changed, and starts those that are new or changed."""
        loaded = self._deliverer.rules.current
        if loaded is self._seen:
            return
        self._seen = loaded
        wanted = {s.name: s for s in loaded.config.subscriptions if bells.slot_of(s.name) == self._slot}
        for name, (drain, _) in list(self._running.items()):
            if name not in wanted or not drain.serves(wanted[name], loaded.secrets[name]):
                drain.ending.set()
                drain.wake()
        for name, subscription in wanted.items():
            former = self._running.get(name)
            if former is None or former[0].ending.is_set():
                self._start(subscription, loaded.secrets[name], former[1] if former else None)

    def _start(self, subscription: Subscription, secret: SigningSecret, after: asyncio.Task[None] | None) -> None:
        drain = LaneDrain(self._deliverer, self._settler, self._lease, subscription, secret)
        task = asyncio.create_task(drain.run(after), name=f"lane {subscription.name}")
        self._running[subscription.name] = drain, task

    def wake(self, name: str) -> None:
        """Tells a lane that there is something new for it."""
        if name in self._running:
            self._running[name][0].wake()

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
            drain.ending.set()
            drain.wake()
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LaneDrain:
    """Delivers one lane."""

    def __init__(
        self, deliverer: Deliverer, settler: Settler, lease: Lease, subscription: Subscription, secret: SigningSecret
    ) -> None:
        self.ending = asyncio.Event()
        self.in_flight: set[asyncio.Task[None]] = set()
        self._deliverer = deliverer
        self._settler = settler
        self._lease = lease
        self._subscription = subscription
        self._secret = secret
        self._lane = Lane(deliverer.redis, subscription.name, subscription.topic)
        self._changed = asyncio.Event()
        self._read: deque[Delivery] = deque()
        self._orphans: deque[Ref] = deque()
        self._held: set[Ref] = set()
        self._may_have_new = True
        self._may_have_orphans = True
        self._next_due: int | None = None

    def serves(self, subscription: Subscription, secret: SigningSecret) -> bool:
        """Whether it was started for exactly this."""
        return (self._subscription, self._secret) == (subscription, secret)

    def wake(self) -> None:
        """There may be something new."""
        self._may_have_new = True
        self._changed.set()

    @property
    def is_busy(self) -> bool:
        """Whether there is something to do now."""
        return bool(self.in_flight or self._read or self._orphans or self._may_have_new or self._may_have_orphans)

    async def run(self, after: asyncio.Task[None] | None = None) -> None:
        """Delivers until `ending` is set; begins when `after`, a former drain of the same lane, is through."""
        if after is not None:
            await asyncio.wait([after])
        try:
            await persistently("making a lane", self._lane.ensure)
            while not (self.ending.is_set() or self._lease.lost.is_set()):
                self._changed.clear()
                await self._fill()
                await self._wait()
        finally:
            await self._finish()

    async def _fill(self) -> None:
        """Starts deliveries while there is room and something to start."""
        while (room := CONCURRENCY - len(self.in_flight)) > 0 and not self.ending.is_set():
            if not self._read:
                found = await self._next(room)
                self._held.update(delivery.ref for delivery in found)
                self._read.extend(found)
            if not self._read:
                return
            while not self._lease.is_sure:
                if self._lease.lost.is_set():
                    return
                await asyncio.sleep(0.05)
            for _ in range(min(room, len(self._read))):
                self._start(self._read.popleft())

    async def _next(self, room: int) -> list[Delivery]:
        """What is to be sent next: orphans, then retries that are due, then what is new."""
        if self._may_have_orphans:
            self._may_have_orphans = False
            orphans = await persistently("finding orphans", self._lane.orphans)
            self._orphans.extend(ref for ref in orphans if ref not in self._held)
            self._next_due = await persistently("finding retries", self._lane.next_due)
        if self._orphans:
            refs = [self._orphans.popleft() for _ in range(min(room, len(self._orphans)))]
            return await persistently("reading orphans", lambda: self._lane.fetch(refs))
        now_ms = self._deliverer.now_ms()
        if self._next_due is not None and self._next_due <= now_ms:
            due = await persistently("reading retries", lambda: self._lane.take_due(now_ms, room), self._suspect)
            self._next_due = await persistently("finding retries", self._lane.next_due)
            if due:
                return due
        if self._may_have_new:
            # As many as fit in flight, not as there is room for now: reading one by one would cost a round trip each.
            self._may_have_new = False
            new = await persistently("reading a lane", lambda: self._lane.read_new(CONCURRENCY), self._suspect)
            self._may_have_new |= len(new) >= CONCURRENCY
            return new
        return []

    def _suspect(self) -> None:
        """An answer that was lost may have made deliveries pending, or taken retries, that we do not know of."""
        self._may_have_orphans = True

    def _start(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._deliver(delivery))
        self.in_flight.add(task)
        task.add_done_callback(partial(self._done, delivery.ref))

    def _done(self, ref: Ref, task: asyncio.Task[None]) -> None:
        self.in_flight.discard(task)
        self._held.discard(ref)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery.broken", subscription=self._lane.name, error=repr(error), exc_info=error)

    async def _deliver(self, delivery: Delivery) -> None:
        number = delivery.tries.count + 1
        attempt = await self._attempt(delivery, number)
        tries = Tries(number, delivery.tries.first_ms or attempt.at_ms, attempt.outcome)
        verdict = decide(attempt, number, self._subscription.retry, self._deliverer.random)
        record = delivery.record
        write = log.info if attempt.outcome is Outcome.DELIVERED else log.warning
        write(
            "delivery.attempted",
            subscription=self._lane.name,
            topic=delivery.topic,
            id=record.id,
            type=record.type,
            line=record.line,
            attempt=number,
            outcome=attempt.outcome,
            status=attempt.status,
            ms=attempt.took_ms,
            age_ms=attempt.at_ms + attempt.took_ms - record.at,
            next_in_s=round((verdict.due_ms - self._deliverer.now_ms()) / 1000, 1)
            if isinstance(verdict, Again)
            else None,
            dead=verdict.reason if isinstance(verdict, GivenUp) else None,
        )
        await self._settler.settle(Settlement(self._lane, delivery, attempt, tries, verdict))
        if isinstance(verdict, Again):
            self._next_due = min(verdict.due_ms, self._next_due or verdict.due_ms)

    async def _attempt(self, delivery: Delivery, number: int) -> Attempt:
        if not delivery.fields:
            return Attempt(Outcome.LOST, self._deliverer.now_ms(), 0, detail="the entry was trimmed from its stream")
        try:
            return await self._deliverer.sender.attempt(self._subscription, self._secret, delivery, number)
        except Exception as error:  # a bug of ours must not leave a delivery pending for ever
            log.exception("attempt.broken", subscription=self._lane.name, id=delivery.record.id)
            return Attempt(Outcome.FAILED, self._deliverer.now_ms(), 0, detail=f"relay: {error!r}")

    async def _wait(self) -> None:
        """Until something changed or a retry is due."""
        timeout = None
        if self._next_due is not None and len(self.in_flight) < CONCURRENCY:
            timeout = max(self._next_due - self._deliverer.now_ms(), 0) / 1000
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    async def _finish(self) -> None:
        """Waits for what is in flight; when cancelled, so is that."""
        try:
            if self.in_flight:
                await asyncio.wait(self.in_flight)
        finally:
            for task in self.in_flight:
                task.cancel()
