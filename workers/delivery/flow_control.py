"""The gate of a lane: how many of its deliveries may be in flight right now.

Shut while the subscription is paused; narrow while its breaker is not closed (`relay.core.delivery.circuit_breaker`);
and opened a little at a time where the subscription has a rate. What shuts it outlives us in Redis
(`relay.store.lanes.suspensions`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.circuit_breaker import CircuitBreaker, State
from relay.core.delivery.outcome import Outcome
from relay.core.delivery.token_bucket import TokenBucket
from relay.store.driver.client import retry_until_redis_answers
from relay.store.lanes.suspensions import Suspensions

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.core.delivery.outcome import Attempt
    from relay.store.lanes.lane import Ref
    from workers.delivery.session import Session

log = structlog.get_logger()


class FlowControl:
    """Lets the deliveries of one lane through."""

    def __init__(self, shift: Session, subscription: Subscription) -> None:
        self._shift = shift
        self._subscription = subscription
        self._holds = Suspensions(shift.redis)
        self._is_paused = subscription.paused
        self._breaker = CircuitBreaker(subscription.concurrency, shift.random, None, shift.breaker_limits)
        self._saving = asyncio.Lock()
        self._bucket = TokenBucket(subscription.rate, self._now()) if subscription.rate else None

    async def open(self) -> None:
        """Takes over what a former holder of the lane left; to be called before anything is let through."""
        name = self._subscription.name
        pauses = await retry_until_redis_answers("reading pauses", self._holds.pauses)
        trip = await retry_until_redis_answers("reading a breaker", lambda: self._holds.open_breaker(name))
        self.pause(is_paused=name in pauses)
        if self._subscription.breaker:
            self._breaker = CircuitBreaker(
                self._subscription.concurrency, self._shift.random, trip, self._shift.breaker_limits
            )

    def pause(self, *, is_paused: bool) -> bool:
        """Says whether somebody keeps the lane paused; whether that is news."""
        before, self._is_paused = self._is_paused, is_paused or self._subscription.paused
        return before != self._is_paused

    @property
    def is_shut(self) -> bool:
        """Whether nothing gets through until somebody resumes the subscription."""
        return self._is_paused

    @property
    def is_probing(self) -> bool:
        """Whether what gets through is a probe."""
        return self._breaker.state is State.OPEN

    def room(self, in_flight: int) -> int:
        """How many more may be in flight now."""
        if self._is_paused:
            return 0
        room = self._breaker.most_in_flight(self._shift.now_ms()) - in_flight
        return min(room, self._bucket.available(self._now())) if self._bucket else room

    def pass_one(self) -> None:
        """One goes through."""
        if self._bucket:
            self._bucket.take()

    def opens_in(self) -> float | None:
        """Seconds until more may get through though nothing else changes; None if that will not be."""
        if self._is_paused:
            return None
        wait = self._bucket.wait(self._now()) if self._bucket else 0.0
        if self.is_probing and self._breaker.trip:
            wait = max(wait, (self._breaker.trip.probe_ms - self._shift.now_ms()) / 1000)
        return wait if wait > 0 else None

    def changes_in(self) -> float | None:
        """Seconds until `tick` has something to do; None if it has not."""
        ends_ms = self._breaker.ramp_ends_ms
        return None if ends_ms is None else (ends_ms - self._shift.now_ms()) / 1000

    async def tick(self) -> None:
        """Closes a breaker that has ramped for long enough."""
        if self._breaker.ramp_ends_ms is not None:
            before, was = self._breaker.trip, self._breaker.state
            self._breaker.tick(self._shift.now_ms())
            await self._follow(before, was)

    async def record(self, ref: Ref, attempt: Attempt) -> None:
        """Takes in what came of an attempt."""
        if attempt.outcome is Outcome.GONE:
            await self._pause_for_good(attempt)
        if self._subscription.breaker:
            before, was = self._breaker.trip, self._breaker.state
            self._breaker.record(ref, attempt, self._shift.now_ms())
            await self._follow(before, was)

    async def _follow(self, before: OpenBreaker | None, was: State) -> None:
        """Says and saves what has become of the breaker."""
        if self._breaker.state is not was:
            self._log(was)
        if self._breaker.trip is not before:
            async with self._saving:  # one after the other, each what it is then: the last one saved is true
                save = partial(self._holds.save_open_breaker, self._subscription.name, self._breaker.trip)
                await retry_until_redis_answers("saving a breaker", save)

    async def _pause_for_good(self, attempt: Attempt) -> None:
        self._is_paused = True
        name, now_ms = self._subscription.name, self._shift.now_ms()
        reason = f"the subscriber answered {attempt.status}: it does not want events any more"
        if await retry_until_redis_answers("pausing a lane", lambda: self._holds.pause(name, reason, now_ms)):
            log.error(
                "lane.paused", subscription=name, reason=reason, note=f"relay subscriptions resume {name} lets it go on"
            )

    def _log(self, was: State) -> None:
        trip, state = self._breaker.trip, self._breaker.state
        write = log.warning if state is State.OPEN else log.info
        write(
            f"breaker.{state}",
            subscription=self._subscription.name,
            was=was,
            reason=trip.reason if trip else None,
            next_probe_in_s=round((trip.probe_ms - self._shift.now_ms()) / 1000, 1) if trip else None,
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
