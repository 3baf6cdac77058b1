"""One lane's drain: as many POSTs in flight as its gate lets through, each settled by what came of it.

    what is next (`workers.delivery.source`)  ->  POST  ->  outcome  ->  verdict (`core.delivery.outcome`)  ->  settled

What the subscription has narrowed out of its topic, and what is too old, is settled without a POST.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from relay.core.config.topics import is_wanted
from relay.core.delivery.outcome import (
    Attempt,
    AttemptContext,
    DeadLettered,
    Filtered,
    Outcome,
    RetryAt,
    decide,
    expiry,
    is_expired,
)
from relay.process.tasks import end_task
from relay.store.driver.client import retry_until_redis_answers
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.lanes.attempt_record import AttemptLimits
from relay.store.lanes.lane import Lane, Tries
from relay.store.lanes.settler import Settlement
from workers.delivery.flow_control import FlowControl
from workers.delivery.ordered_source import source_for

if TYPE_CHECKING:
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Verdict
    from relay.store.lanes.lane import Delivery, Ref
    from workers.delivery.session import Session

log = structlog.get_logger()


class LaneWorker:
    """Delivers one lane."""

    def __init__(self, shift: Session, subscription: Subscription, endpoint: Endpoint) -> None:
        self.in_flight: dict[asyncio.Task[None], Ref] = {}
        self._loop = asyncio.get_running_loop()
        self._shift = shift
        self._subscription = subscription
        self._endpoint = endpoint
        self._sender = shift.sender.sender_for(subscription, endpoint)
        self._room = AttemptLimits.from_size(subscription.attempts.size)
        self._lane = Lane(shift.redis, subscription.name, subscription.topic)
        self._supply = source_for(shift, self._lane, subscription)
        self._gate = FlowControl(shift, subscription)
        self._ending = False
        self._changed = asyncio.Event()
        self._read: deque[Delivery] = deque()

    def serves(self, subscription: Subscription, endpoint: Endpoint) -> bool:
        """Whether it was started for exactly this."""
        return (self._subscription, self._endpoint) == (subscription, endpoint)

    def wake(self) -> None:
        """There may be something new."""
        self._supply.wake()
        self._changed.set()

    def resync(self) -> None:
        """There may be deliveries pending that nobody here knows of: Redis was away."""
        self._supply.resync()
        self._changed.set()

    def pause(self, *, is_paused: bool) -> None:
        """Somebody keeps the subscription paused, or no longer."""
        if self._gate.pause(is_paused=is_paused):
            log.info("lane.paused" if is_paused else "lane.resumed", subscription=self._lane.name)
            self._changed.set()

    def end(self) -> None:
        """Nothing new is started from now on."""
        self._ending = True
        self._changed.set()

    @property
    def is_ending(self) -> bool:
        """Whether `end` was called."""
        return self._ending

    @property
    def _is_over(self) -> bool:
        return self._ending or self._shift.is_over

    @property
    def is_busy(self) -> bool:
        """Whether there is something to do now."""
        has_work = bool(self._read) or self._supply.may_have_more
        return bool(self.in_flight) or (has_work and not self._gate.is_shut)

    async def run(self, after: asyncio.Task[None] | None = None) -> None:
        """Delivers until it is to end; begins when `after`, a former drain of the same lane, is through."""
        if after is not None:
            await asyncio.wait([after])
        try:
            await retry_until_redis_answers("making a lane", self._lane.ensure)
            await self._gate.open()
            while not self._is_over:
                self._changed.clear()
                await self._supply.check()
                await self._gate.tick()
                await self._fill()
                await self._wait()
        finally:
            await self._finish()

    async def _fill(self) -> None:
        """Starts deliveries while there is room and something to start."""
        while (room := self._gate.room(len(self.in_flight))) > 0 and not self._is_over:
            if not self._read:
                try:
                    self._read.extend(await self._supply.next(room))
                except LeaseLost:
                    self._shift.lease.lost.set()
                    return
            if not self._read:
                return
            while not self._shift.lease.is_sure:
                if self._shift.lease.lost.is_set():
                    return
                await asyncio.sleep(0.05)
            for _ in range(min(room, len(self._read))):
                self._start(self._read.popleft())

    def _start(self, delivery: Delivery) -> None:
        verdict = self._verdict_without_attempt(delivery)
        if verdict is None:
            self._gate.pass_one()
        work = self._deliver(delivery) if verdict is None else self._settle(delivery, delivery.tries, verdict)
        task = self._loop.create_task(work)
        self.in_flight[task] = delivery.ref
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._supply.release(self.in_flight.pop(task))
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery.error", subscription=self._lane.name, error=repr(error), exc_info=error)

    async def _deliver(self, delivery: Delivery) -> None:
        number = delivery.tries.count + 1
        standing = AttemptContext(number, delivery.since_ms, is_probe=self._gate.is_probing)
        attempt = await self._attempt(delivery, number)
        await self._gate.record(delivery.ref, attempt)
        verdict = decide(attempt, standing, self._subscription, self._shift.random)
        self._log(delivery, attempt, standing, verdict)
        is_free = isinstance(verdict, RetryAt) and not verdict.counts
        tries = Tries(number - is_free, delivery.tries.first_ms or attempt.at_ms, attempt.outcome)
        await self._settle(delivery, tries, verdict, attempt, is_probe=standing.is_probe)

    async def _settle(
        self,
        delivery: Delivery,
        tries: Tries,
        verdict: Verdict,
        attempt: Attempt | None = None,
        *,
        is_probe: bool = False,
    ) -> None:
        at_ms = self._shift.now_ms()
        blocks = delivery.chat if self._subscription.block_on_dead else ""
        settlement = Settlement(self._lane, delivery, attempt, tries, verdict, at_ms, is_probe, self._room, blocks)
        await self._shift.settler.settle(settlement)
        self._supply.settled(delivery, verdict)

    def _verdict_without_attempt(self, delivery: Delivery) -> Verdict | None:
        """What becomes of a delivery that needs no POST; None if it does."""
        if not delivery.fields:
            return DeadLettered("lost: the entry was deleted from its stream")
        subscription = self._subscription
        try:
            record = delivery.record
        except ValueError as error:  # somebody else put it into the stream
            return DeadLettered(f"unreadable: {error}")
        if not is_wanted(subscription, record.type, record.line, record.freshness):
            return Filtered()
        if is_expired(delivery.since_ms, subscription, self._shift.now_ms()):
            return expiry(subscription)
        return None

    def _log(self, delivery: Delivery, attempt: Attempt, standing: AttemptContext, verdict: Verdict) -> None:
        level = logging.INFO if attempt.outcome is Outcome.DELIVERED else logging.WARNING
        if not log.is_enabled_for(level):  # before anything is put together for it: most deliveries are never told
            return
        record = delivery.record
        log.log(
            level,
            "delivery.attempted",
            subscription=self._lane.name,
            topic=delivery.topic,
            id=record.id,
            type=record.type,
            line=record.line,
            attempt=standing.tries,
            probe=standing.is_probe or None,
            outcome=attempt.outcome,
            status=attempt.status,
            ms=attempt.took_ms,
            age_ms=attempt.at_ms + attempt.took_ms - record.at,
            next_in_s=max(round((verdict.due_ms - self._shift.now_ms()) / 1000, 1), 0)
            if isinstance(verdict, RetryAt)
            else None,
            dead=verdict.reason if isinstance(verdict, DeadLettered) else None,
        )

    async def _attempt(self, delivery: Delivery, number: int) -> Attempt:
        try:
            return await self._sender.attempt(delivery, number)
        except Exception as error:  # a bug of ours must not leave a delivery pending for ever
            log.exception("attempt.error", subscription=self._lane.name, id=delivery.record.id)
            return Attempt(Outcome.FAILED, self._shift.now_ms(), 0, detail=f"relay: {error!r}")

    async def _wait(self) -> None:
        """Until something changed, a retry is due, the gate opens, or it is time to count."""
        waits = [self._supply.counts_in]
        if (changes_in := self._gate.changes_in()) is not None:
            waits.append(changes_in)
        if self._gate.room(len(self.in_flight)) > 0:
            if self._supply.next_due is not None:
                waits.append((self._supply.next_due - self._shift.now_ms()) / 1000)
        elif (opens_in := self._gate.opens_in()) is not None:
            waits.append(opens_in)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(waits), 0)):
                await self._changed.wait()

    async def _finish(self) -> None:
        """Waits for what is in flight; when cancelled, so is that."""
        try:
            if self.in_flight:
                await asyncio.wait(self.in_flight)
        finally:
            await asyncio.gather(*map(end_task, self.in_flight))
