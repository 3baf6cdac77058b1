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
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.core.delivery.outcome import Attempt, AttemptContext, DeadLettered, Outcome, RetryAt, Shortage, decide
from relay.process.tasks import end_task
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.isolation import WrongType
from relay.store.lanes.attempt_log import save_last_success
from relay.store.lanes.attempt_record import AttemptLimits
from relay.store.lanes.dead_letter_bounds import trim_dead_letters
from relay.store.lanes.lane import Lane, Tries
from relay.store.lanes.settler import Settlement
from relay.store.shadow_marks import ShadowMark, mark_shadow
from workers.delivery.delivery_log import (
    PostponementLog,
    log_attempt,
    log_attempt_error,
    log_delivery_error,
    log_pause,
    logs_successes,
)
from workers.delivery.flow_control import FlowControl
from workers.delivery.lane_access import LaneAccess, StillSuspended
from workers.delivery.ordered_source import source_for
from workers.delivery.verdicts import verdict_without_attempt

if TYPE_CHECKING:
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Verdict
    from relay.store.lanes.lane import Delivery, Ref
    from workers.delivery.session import Session

_BURIED = 200  # dead letters
_SAVE_INTERVAL = 5.0  # seconds
_PAUSE = 0.1  # seconds without new attempts after a shortage


class LaneWorker:
    """The worker of one lane, for one version of its subscription."""

    def __init__(self, session: Session, subscription: Subscription, endpoint: Endpoint) -> None:
        self.in_flight: dict[asyncio.Task[None], Ref] = {}
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._subscription = subscription
        self._endpoint = endpoint
        self._sender = session.sender.sender_for(subscription, endpoint)
        self._attempt_limits = AttemptLimits.from_size(subscription.attempts.size, keeps_answers=endpoint.keeps_answers)
        self._lane = Lane(session.redis, subscription.name, subscription.topic)
        self._metrics = session.metrics.lane(subscription.name)
        self._logs_successes = logs_successes()
        self._log_attempt = partial(log_attempt, subscription, session.now_ms)
        self._access = LaneAccess(session, self._lane, lambda: self._is_over)
        self._source = source_for(session, self._lane, self._access, subscription)
        self._flow_control = FlowControl(session, subscription)
        self._is_ending = False
        self._changed = asyncio.Event()
        self._read: deque[Delivery] = deque()  # not started yet
        self._put_back: set[Ref] = set()  # in `_read` again, while the task that started them ends
        self._buried = 0  # dead letters since they were trimmed last
        self._succeeded_ms = 0  # Unix milliseconds of the last success, unless it is stored
        self._save_at = 0.0  # time of the loop's clock
        self._starts_at = 0.0  # time of the loop's clock; later than now after a shortage
        self._postponements = PostponementLog(subscription.name)

    def serves(self, subscription: Subscription, endpoint: Endpoint) -> bool:
        """Return True if it was started for exactly this subscription and endpoint."""
        return (self._subscription, self._endpoint) == (subscription, endpoint)

    def wake(self) -> None:
        """Read the lane again: it may have new deliveries."""
        self._source.wake()
        self._changed.set()

    def resync(self) -> None:
        """Search for pending deliveries that this worker does not know: Redis was away."""
        self._source.resync()
        self._changed.set()

    def pause(self, *, is_paused: bool) -> None:
        """Pause or resume the lane as an operator demands."""
        if self._flow_control.pause(is_paused=is_paused):
            log_pause(self._lane.name, is_paused=is_paused)
            self._changed.set()

    def end(self) -> None:
        """Start no further deliveries, and end when those in flight have ended."""
        self._is_ending = True
        self._changed.set()

    @property
    def is_ending(self) -> bool:
        """True if `end` was called."""
        return self._is_ending

    @property
    def _is_over(self) -> bool:
        return self._is_ending or self._session.is_over

    @property
    def _cannot_start(self) -> bool:
        return self._is_over or self._access.is_suspended

    @property
    def is_busy(self) -> bool:
        """True if it has work now that it can do."""
        has_work = bool(self._read) or self._source.may_have_more
        is_busy = bool(self.in_flight) or (has_work and not self._flow_control.is_paused)
        return is_busy and not self._access.is_suspended

    @property
    def has_posts(self) -> bool:
        """True if POSTs are in flight, and not only verdicts that wait for a repair."""
        return bool(self.in_flight) and not self._access.is_suspended

    async def run(self, after: asyncio.Task[None] | None = None) -> None:
        """Deliver until it must end; begin when `after`, a former worker of the same lane, has ended."""
        if after is not None:
            await asyncio.wait([after])
        try:
            with suppress(StillSuspended), self._metrics.delivering(self.in_flight):
                await self._run()
        finally:
            await self._finish()

    async def _run(self) -> None:
        await self._access.retry("creating a lane", self._lane.ensure)
        if (original := self._subscription.shadow_of) is not None:
            mark = partial(mark_shadow, self._session.redis, self._lane.name, ShadowMark(original))
            await self._access.retry("marking a shadow", mark)
        await self._flow_control.open()
        while not self._is_over:
            self._changed.clear()
            await self._source.check()
            await self._flow_control.tick()
            await self._trim_dead_letters()
            await self._save_last_success()
            await self._fill()
            await self._wait()

    async def _fill(self) -> None:
        """Start deliveries while there are any and flow control allows more."""
        if self._loop.time() < self._starts_at or self._access.is_suspended:
            return
        while (capacity := self._flow_control.capacity(len(self.in_flight))) > 0 and not self._cannot_start:
            if not self._read:
                try:
                    self._read.extend(await self._source.next(capacity, prefer_new=self._flow_control.is_probing))
                except LeaseLost:
                    self._session.lease.lost.set()
                    return
            if not self._read:
                return
            while not self._session.lease.is_sure:
                if self._session.lease.lost.is_set():
                    return
                await asyncio.sleep(0.05)
            for _ in range(min(capacity, len(self._read))):
                self._start(self._read.popleft())

    def _start(self, delivery: Delivery) -> None:
        verdict = verdict_without_attempt(delivery, self._subscription, self._session.now_ms())
        if verdict is None:
            self._flow_control.admit()
        work = self._deliver(delivery) if verdict is None else self._settle(delivery, delivery.tries, verdict)
        task = self._loop.create_task(work)
        self.in_flight[task] = delivery.ref
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        ref = self.in_flight.pop(task)
        if ref in self._put_back:
            self._put_back.discard(ref)
        else:
            self._source.release(ref)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log_delivery_error(self._lane.name, error)

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
        verdict = decide(attempt, context, self._subscription, self._session.random)
        if self._logs_successes or attempt.outcome is not Outcome.DELIVERED:
            self._log_attempt(delivery, attempt, context, verdict)
        self._metrics.attempted(attempt)
        is_uncounted = isinstance(verdict, RetryAt) and not verdict.counts
        tries = Tries(number - is_uncounted, delivery.tries.first_ms or attempt.at_ms, attempt.outcome)
        await self._settle(delivery, tries, verdict, attempt, is_probe=context.is_probe)

    async def _trim_dead_letters(self) -> None:
        """Keep the bounds of the dead letters after every 200: retention comes once a minute."""
        if self._buried < _BURIED:
            return
        self._buried = 0
        name, bounds = self._lane.name, self._subscription.dead
        is_alarm = self._subscription.shadow_of is None
        trim = partial(trim_dead_letters, self._session.redis, name, bounds, self._session.now_ms(), is_alarm=is_alarm)
        await self._access.retry("trimming dead letters", trim)

    async def _save_last_success(self) -> None:
        """Store the time of the last success now and then, and not for each: it is for operators."""
        if self._succeeded_ms and self._loop.time() >= self._save_at:
            at_ms, self._succeeded_ms = self._succeeded_ms, 0
            self._save_at = self._loop.time() + _SAVE_INTERVAL
            save = partial(save_last_success, self._session.redis, self._lane.name, at_ms)
            await self._access.retry("saving the last success", save)

    def _postpone(self, delivery: Delivery, shortage: Shortage) -> None:
        """Put a delivery back that was not attempted, and start none for a moment."""
        self._flow_control.withdraw()
        self._read.appendleft(delivery)
        self._put_back.add(delivery.ref)
        self._starts_at = self._loop.time() + _PAUSE
        self._postponements.add(shortage.reason, self._loop.time())

    async def _settle(
        self,
        delivery: Delivery,
        tries: Tries,
        verdict: Verdict,
        attempt: Attempt | None = None,
        *,
        is_probe: bool = False,
    ) -> None:
        at_ms, limits = self._session.now_ms(), self._attempt_limits
        blocks = delivery.chat if self._subscription.block_on_dead else ""
        settlement = Settlement(self._lane, delivery, attempt, tries, verdict, at_ms, is_probe, limits, blocks)
        try:
            await self._session.settler.settle(settlement)
        except (WrongType, ResponseError):
            try:
                await self._access.retry("settling a delivery", lambda: self._session.settler.settle(settlement))
            except StillSuspended:
                return  # the delivery stays pending for the next worker
        self._buried += isinstance(verdict, DeadLettered)
        if attempt is not None and attempt.outcome is Outcome.DELIVERED:
            self._succeeded_ms = attempt.ended_ms
        self._source.settled(delivery, verdict)

    async def _wait(self) -> None:
        """Wait until something changed, a retry is due, flow control opens, or pending deliveries must be counted."""
        waits = [self._source.counts_in]
        if (ramp_ends_in := self._flow_control.ramp_ends_in()) is not None:
            waits.append(ramp_ends_in)
        if self._access.is_suspended:
            pass  # the end of a delivery in flight wakes it
        elif (pause := self._starts_at - self._loop.time()) > 0:
            waits.append(pause)
        elif self._flow_control.capacity(len(self.in_flight)) > 0:
            if self._source.next_due is not None:
                waits.append((self._source.next_due - self._session.now_ms()) / 1000)
        elif (opens_in := self._flow_control.opens_in()) is not None:
            waits.append(opens_in)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(waits), 0)):
                await self._changed.wait()

    async def _finish(self) -> None:
        """Wait for the deliveries in flight; cancel them if this worker is cancelled."""
        try:
            if self.in_flight:
                await asyncio.wait(self.in_flight)
        finally:
            await asyncio.gather(*map(end_task, self.in_flight))
