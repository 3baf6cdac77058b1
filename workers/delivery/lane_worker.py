"""The delivery loop of one lane: keeps as many POSTs in flight as flow control allows, and settles each by its outcome.

    next delivery (`workers.delivery.source`)  ->  POST  ->  outcome  ->  verdict (`core.delivery.outcome`)  ->  settled

Deliveries that the subscription filters out of its topic, or that have expired, are settled without a POST
(`workers.delivery.verdicts`). One that could not be sent for want of something of ours
(`core.delivery.outcome.Shortage`) is put back, and the whole lane waits a moment: the next would fail in the same way.
A worker that dies leaves its deliveries pending in Redis; the next one finds them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from relay.core.delivery.outcome import Attempt, AttemptContext, Delivered, Outcome, Shortage
from relay.process.tasks import end_task
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.inbox.reading.hand_over import receiving
from relay.store.lanes.lane import Lane
from workers.delivery.delivery_log import PostponementLog, log_attempt_error, log_delivery_error, log_pause
from workers.delivery.flow_control import FlowControl
from workers.delivery.lane_access import LaneAccess, StillSuspended
from workers.delivery.ordered_source import source_for
from workers.delivery.settling import LaneSettling
from workers.delivery.verdicts import verdict_without_attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Verdict
    from relay.store.inbox.reading.hand_over import Offer, Row
    from relay.store.lanes.delivery import Delivery, Ref, Tries
    from relay.store.lanes.many.look import LaneLook
    from workers.delivery.session import Session, Stored

_PAUSE = 0.1  # seconds without new attempts after a shortage


class LaneWorker:
    """The worker of one lane, for one version of its subscription."""

    def __init__(
        self, session: Session, subscription: Subscription, endpoint: Endpoint, stored: Stored | None = None
    ) -> None:
        """`stored` is what Redis has of a lane that is as its counters say; None reads and repairs it."""
        self.in_flight: dict[asyncio.Task[None], Ref] = {}
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._subscription = subscription
        self._endpoint = endpoint
        self._sender = session.sender.sender_for(subscription, endpoint)
        self._lane = Lane(session.redis, subscription.name, subscription.topic)
        self._metrics = session.metrics.lane(subscription.name)
        self._access = access = LaneAccess(session, self._lane)
        self.settling = LaneSettling(session, self._lane, access, subscription, keeps_answers=endpoint.keeps_answers)
        self.source = source_for(session, self._lane, access, subscription)
        self._flow_control = self._limits()
        self._changed = asyncio.Event()
        self._read: deque[Delivery] = deque()  # not started yet
        self._put_back: set[Ref] = set()  # in `_read` again, while the task that started them ends
        self._starts_at = 0.0  # time of the loop's clock; later than now after a shortage
        self._postponements = PostponementLog(subscription.name)
        self._stored = stored
        self._at_rest_since: float | None = None  # time of the loop's clock

    def _limits(self) -> FlowControl:
        return FlowControl(self._session, self._subscription)

    def serves(self, subscription: Subscription, endpoint: Endpoint) -> bool:
        """Return True if it was started for exactly this subscription and endpoint."""
        return (self._subscription, self._endpoint) == (subscription, endpoint)

    def wake(self) -> None:
        """Read the lane again: it may have new deliveries."""
        self.source.wake()
        self._changed.set()

    def resync(self) -> None:
        """Search for pending deliveries that this worker does not know: Redis was away."""
        self.source.read_again(self._read, self._put_back)
        self._changed.set()

    def counted(self, look: LaneLook | None, in_hand: int) -> None:
        """Take note of a look at the lane (None: it is at rest), made when it had `in_hand` deliveries in hand."""
        if look is not None and look.is_special:
            self.source.count()
            self._changed.set()
        elif self.source.counted(look.in_hand if look else 0, look.retrying if look else 0, in_hand):
            self._changed.set()

    def was_at_rest(self, seconds: float) -> bool:
        """Return True if it had nothing to do for that long: it may end until the lane has new deliveries."""
        if self._at_rest_since is None or self._loop.time() - self._at_rest_since <= seconds or not self._is_at_rest:
            return False  # it may have offered to take new events since
        return not (self._changed.is_set() or self.settling.has_success)

    def offer(self, stream: str) -> Offer | None:
        """Offer to take new events of the topic from the commit that routes them, if they could be sent at once."""
        may_start = self._capacity > 0 and not (self._read or self._flow_control.is_probing)
        may_start = may_start and self._session.is_sure and self._loop.time() >= self._starts_at
        return self.source.offer(stream) if may_start else None

    def take(self, rows: Sequence[Row] | None) -> None:
        """Send events that a commit has read; None if it has failed, and may have read some."""
        self.source.take(rows)
        self._changed.set()

    def pause(self, *, is_paused: bool, as_of: float) -> None:
        """Pause or resume the lane as an operator demanded at `as_of`, time of the loop's clock."""
        if self._flow_control.pause(is_paused=is_paused, as_of=as_of):
            log_pause(self._lane.name, is_paused=is_paused)
            self._changed.set()

    def end(self) -> None:
        """Start no further deliveries, and end when those in flight have ended."""
        self._access.is_ending = True
        self._changed.set()

    @property
    def is_ending(self) -> bool:
        """True once `end` was called."""
        return self._access.is_ending

    @property
    def _capacity(self) -> int:  # deliveries that may be started now
        return 0 if self._access.is_over or self._access.is_suspended else self._flow_control.capacity(*self._load)

    @property
    def _load(self) -> tuple[int, int]:  # deliveries in flight, and reserved ones
        return len(self.in_flight), 0

    @property
    def is_busy(self) -> bool:
        """True if it has work now that it can do."""
        has_work = (self._read or self.source.may_have_more) and not self._flow_control.is_paused
        return bool(self.in_flight or has_work) and not self._access.is_suspended

    @property
    def has_posts(self) -> bool:
        """True if POSTs are in flight, and not only verdicts that wait for a repair."""
        return bool(self.in_flight) and not self._access.is_suspended

    async def run(self, after: asyncio.Task[None] | None = None) -> None:
        """Deliver until it must end; begin when `after`, a former worker of the same lane, has ended."""
        if after is not None:
            await asyncio.wait([after])
        with receiving(self._session.receivers, self._lane.name, self):
            try:
                with suppress(StillSuspended), self._metrics.delivering(self.in_flight):
                    await self._run()
            finally:
                await self._finish()

    async def _run(self) -> None:
        await self._begin()
        while not self._access.is_over:
            self._changed.clear()
            await self.source.check()
            await self._flow_control.tick()
            await self.settling.trim_dead_letters()
            await self._wait(await self._fill())

    async def _begin(self) -> None:
        """Continue with what Redis has of the lane."""
        if (stored := self._stored) is None:
            await self._access.retry("creating a lane", self._lane.ensure)
            await self._flow_control.open()
        else:
            self.source.begin(stored.pending, stored.retrying)
            self._flow_control.begin(stored.breaker, is_paused=stored.is_paused)
        if (original := self._subscription.shadow_of) is not None:
            await self._access.mark_shadow(original)

    async def _fill(self) -> float | None:
        """Start deliveries while there are any and flow control allows more.

        Returns the seconds after which more may be started, as it ended; None if time alone allows none.
        """
        if (pause := self._starts_at - self._loop.time()) > 0:
            return pause
        while self._read or self.source.has_next:
            if (capacity := self._capacity) <= 0:  # the end of a delivery in flight ends a suspension
                return None if self._access.is_suspended else self._flow_control.opens_in(*self._load)
            if not self._read:
                try:
                    self._read.extend(await self.source.next(capacity, prefer_new=self._flow_control.is_probing))
                except LeaseLost:
                    self._session.lease.lost.set()
            if not self._read:
                break
            while not self._session.is_sure:
                if self._session.is_over:
                    return None
                await asyncio.sleep(0.05)
            self._start_read()
        due_ms = self.source.next_due
        return None if due_ms is None else (due_ms - self._session.now_ms()) / 1000

    def _start_read(self) -> None:
        for _ in range(min(self._capacity, len(self._read))):  # which may have changed during the read
            self._start(self._read.popleft())

    def _start(self, delivery: Delivery) -> None:
        verdict = verdict_without_attempt(delivery, self._subscription, self._session.now_ms())
        if verdict is None:
            self._flow_control.admit()
            work = self._deliver(delivery)
        else:
            work = self._settle(delivery, delivery.tries, verdict, None, is_probe=False)
        task = self._loop.create_task(work)
        self.in_flight[task] = delivery.ref
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if (ref := self.in_flight.pop(task)) not in self._put_back:
            self.source.release(ref)
        self._put_back.discard(ref)
        self._freed()
        if not task.cancelled() and (error := task.exception()) is not None:
            log_delivery_error(self._lane.name, error)

    def _freed(self) -> None:  # by a delivery that has ended
        if self._goes_on:
            self._changed.set()
        elif self._is_at_rest:
            self._at_rest_since = self._loop.time()

    async def _deliver(self, delivery: Delivery) -> None:
        number = delivery.tries.count + 1
        context = AttemptContext(number, delivery.since_ms, is_probe=self._flow_control.is_probing)
        try:
            attempt = await self._sender.attempt(delivery, number)
        except Exception as error:  # noqa: BLE001  logged; a bug of ours must not leave a delivery pending for ever
            log_attempt_error(self._lane.name, delivery, error)
            attempt = Attempt(Outcome.FAILED, self._session.now_ms(), 0, detail=f"relay: {error!r}")
        if isinstance(attempt, Shortage):
            self._postpone(delivery, attempt)
            return
        if (recording := self._flow_control.record(delivery.ref, attempt)) is not None:
            await recording
        if self._flow_control.is_probing:
            context = context._replace(is_held=True)
        self._metrics.attempted(attempt)
        verdict, tries = self.settling.decide(delivery, attempt, context)
        await self._settle(delivery, tries, verdict, attempt, is_probe=context.is_probe)

    def _postpone(self, delivery: Delivery, shortage: Shortage) -> None:
        """Put a delivery back that was not attempted, and start none for a moment."""
        self._flow_control.withdraw()
        self._read.appendleft(delivery)
        self._put_back.add(delivery.ref)
        self._starts_at = self._loop.time() + _PAUSE
        self._postponements.add(shortage.reason, self._loop.time())

    @property
    def _is_awaited(self) -> bool:  # the end of a delivery: by its chat, the end of this worker, or for its capacity
        is_wanted = self._subscription.ordered is not None or self._access.is_over
        return is_wanted or self._flow_control.is_half_used(*self._load)

    async def _settle(
        self, delivery: Delivery, tries: Tries, verdict: Verdict, attempt: Attempt | None, *, is_probe: bool
    ) -> None:
        lingers = isinstance(verdict, Delivered) and not self._is_awaited
        if await self.settling.settle(delivery, tries, verdict, attempt, is_probe=is_probe, lingers=lingers):
            self.source.settled(delivery, verdict)  # else it stays pending for the next worker

    async def _wait(self, seconds: float | None) -> None:
        """Wait until something changed, but at most `seconds` and until a breaker has ramped for long enough."""
        if waits := [wait for wait in (seconds, self._flow_control.ramp_ends_in()) if wait is not None]:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(min(waits), 0)):
                    await self._changed.wait()
        else:  # nearly always: without a time limit, which takes 4 us
            self._at_rest_since = self._loop.time() if self._is_at_rest else None
            await self._changed.wait()
        self._at_rest_since = None

    @property
    def _goes_on(self) -> bool:  # the end of a delivery may give it something to do: at 300/s it seldom does
        has_work = bool(self._read) or self.source.may_have_more or self.source.next_due is not None
        is_normal = self._flow_control.is_normal and not (self._access.is_suspended or self._access.is_over)
        return has_work or self.settling.must_trim or not is_normal

    @property
    def _is_at_rest(self) -> bool:  # only new deliveries, or an operator, can give it work
        has_work = self.in_flight or self._read or not self.source.is_at_rest
        return not has_work and not self._access.is_suspended and self._flow_control.is_normal

    async def _finish(self) -> None:
        """Wait for the deliveries in flight; cancel them if this worker is cancelled."""
        try:
            if self.in_flight:
                await asyncio.wait(self.in_flight)
        finally:
            await asyncio.gather(*map(end_task, self.in_flight))
