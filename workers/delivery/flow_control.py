"""Flow control of a lane: how many of its deliveries may be in flight now.

None while the subscription is paused; few while its circuit breaker is not closed
(`relay.core.delivery.circuit_breaker`); and no more than its rate allows. Pauses and open breakers are stored in Redis
(`relay.store.lanes.suspensions`), so that the next worker of the lane continues with them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.circuit_breaker import CircuitBreaker, State
from relay.core.delivery.outcome import Outcome
from relay.core.delivery.token_bucket import TokenBucket
from relay.store.driver.client import retry_until_redis_answers
from relay.store.lanes.suspensions import Suspensions

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.core.delivery.outcome import Attempt
    from relay.store.lanes.delivery import Ref
    from workers.delivery.session import Session

_REFUSAL_NOTE = "every event gets this response: fix the url or the endpoint; the events wait meanwhile"

log = structlog.get_logger()


class FlowControl:
    """The flow control of one lane."""

    def __init__(self, session: Session, subscription: Subscription) -> None:
        self._session = session
        self._subscription = subscription
        self._suspensions = Suspensions(session.home)
        self._is_paused = subscription.paused
        self._loop = asyncio.get_running_loop()  # asking for it is a system call in Python 3.11
        self._paused_as_of = -inf  # when the read of the pauses began that counts, time of the loop's clock
        self._breaker = CircuitBreaker(subscription.concurrency, session.random, None, session.breaker_limits)
        self._saving = asyncio.Lock()
        self._bucket = TokenBucket(subscription.rate, self._now()) if subscription.rate else None

    @property
    def is_normal(self) -> bool:
        """True if its breaker is closed and not ramping."""
        return self._breaker.state is State.CLOSED

    def begin(self, stored: OpenBreaker | None, *, is_paused: bool, as_of: float = -inf) -> None:
        """Continue with what is stored for the lane; this or `open` must be called before the first delivery."""
        self.pause(is_paused=is_paused, as_of=as_of)
        if self._subscription.breaker:
            self._breaker = CircuitBreaker(
                self._subscription.concurrency, self._session.random, stored, self._session.breaker_limits
            )

    async def open(self) -> None:
        """Read what is stored for the lane, and begin."""
        name, as_of = self._subscription.name, self._now()
        pauses = await retry_until_redis_answers("reading pauses", self._suspensions.pauses)
        stored = await retry_until_redis_answers("reading a breaker", lambda: self._suspensions.open_breaker(name))
        self.begin(stored, is_paused=name in pauses, as_of=as_of)

    def pause(self, *, is_paused: bool, as_of: float) -> bool:
        """Set the operator's pause flag. Returns True if it changed whether the lane is paused.

        `as_of` is the start of the read of the flag, time of the loop's clock: a read that began before the last change
        here is out of date, and changes nothing.
        """
        if as_of < self._paused_as_of:
            return False
        self._paused_as_of = as_of
        was_paused, self._is_paused = self._is_paused, is_paused or self._subscription.paused
        return was_paused != self._is_paused

    @property
    def is_paused(self) -> bool:
        """True if nothing is delivered until an operator resumes the subscription."""
        return self._is_paused

    @property
    def is_probing(self) -> bool:
        """True if the next delivery is a probe of the breaker."""
        return self._breaker.state is State.OPEN

    def capacity(self, in_flight: int, reserved: int = 0) -> int:
        """Return the number of deliveries that may be started beside the `in_flight` and the `reserved` ones."""
        if self.is_normal and not self._bucket and not self._is_paused:  # nearly always: no clock is read
            return self._subscription.concurrency - in_flight - reserved
        return self._capacity_at(in_flight, self._now(), self._session.now_ms()) - reserved

    def is_half_used(self, in_flight: int, reserved: int = 0) -> bool:
        """Return True if fewer deliveries may be started than are in flight."""
        return self.capacity(in_flight, reserved) < in_flight

    def _capacity_at(self, in_flight: int, now: float, now_ms: int) -> int:
        if self._is_paused:
            return 0
        capacity = self._breaker.most_in_flight(now_ms) - in_flight
        return min(capacity, self._bucket.available(now)) if self._bucket else capacity

    def admit(self) -> None:
        """Count a delivery that is started against the rate."""
        if self._bucket:
            self._bucket.take()

    def withdraw(self) -> None:
        """Forget a delivery that was counted against the rate and not sent."""
        if self._bucket:
            self._bucket.put_back()

    def opens_in(self, in_flight: int, reserved: int = 0) -> float | None:
        """Return the seconds until it has capacity beside `in_flight` deliveries; None if time alone gives none.

        0 if it has some now: time has passed since the caller found none.
        """
        now, now_ms = self._now(), self._session.now_ms()
        if self._capacity_at(in_flight, now, now_ms) > reserved:
            return 0.0
        if self._is_paused:
            return None
        wait = self._bucket.wait(now) if self._bucket else 0.0
        if self.is_probing and self._breaker.open_state:
            wait = max(wait, (self._breaker.open_state.probe_ms - now_ms) / 1000)
        return wait if wait > 0 else None

    def ramp_ends_in(self) -> float | None:
        """Return the seconds until `tick` closes the breaker, or None if it is not ramping."""
        ends_ms = self._breaker.ramp_ends_ms
        return None if ends_ms is None else (ends_ms - self._session.now_ms()) / 1000

    async def tick(self) -> None:
        """Close a breaker that has ramped for long enough."""
        if self._breaker.ramp_ends_ms is not None:
            former, former_state = self._breaker.open_state, self._breaker.state
            self._breaker.tick(self._session.now_ms())
            await self._store_breaker(former, former_state)

    def record(self, ref: Ref, attempt: Attempt) -> Awaitable[None] | None:
        """Take the outcome of an attempt into account; await the result unless it is None, as after most successes."""
        if attempt.outcome is Outcome.DELIVERED and self._breaker.open_state is None:
            if self._subscription.breaker:
                self._breaker.record(ref, attempt, self._session.now_ms())
            return None
        return self._record(ref, attempt)

    async def _record(self, ref: Ref, attempt: Attempt) -> None:
        if attempt.outcome is Outcome.GONE:
            await self._pause_gone(attempt)
        if self._subscription.breaker:
            former, former_state = self._breaker.open_state, self._breaker.state
            self._breaker.record(ref, attempt, self._session.now_ms())
            await self._store_breaker(former, former_state, attempt)

    async def _store_breaker(
        self, former: OpenBreaker | None, former_state: State, attempt: Attempt | None = None
    ) -> None:
        """Log and store the state of the breaker if it changed."""
        if self._breaker.state is not former_state:
            self._log_breaker(former_state, attempt)
        if self._breaker.open_state is not former:
            async with self._saving:  # one at a time, each the state of its moment: the last one stored is the latest
                save = partial(self._suspensions.save_open_breaker, self._subscription.name, self._breaker.open_state)
                await retry_until_redis_answers("saving a breaker", save)

    async def _pause_gone(self, attempt: Attempt) -> None:
        self._is_paused, self._paused_as_of = True, inf  # until it is stored, Redis does not know
        name, now_ms = self._subscription.name, self._session.now_ms()
        reason = f"the subscriber responded {attempt.status} Gone"
        if await retry_until_redis_answers("pausing a lane", lambda: self._suspensions.pause(name, reason, now_ms)):
            note = f"resume with: relay subscriptions resume {name}"
            write = log.error if self._subscription.shadow_of is None else log.info
            write("lane.paused", subscription=name, reason=reason, note=note)
        self._paused_as_of = self._now()

    def _log_breaker(self, former_state: State, attempt: Attempt | None) -> None:
        opened, state = self._breaker.open_state, self._breaker.state
        is_refusal = attempt is not None and attempt.outcome in {Outcome.REJECTED, Outcome.REDIRECTED}
        is_quiet = state is not State.OPEN or self._subscription.shadow_of is not None
        write = log.info if is_quiet else log.error if is_refusal else log.warning
        write(
            f"breaker.{state}",
            subscription=self._subscription.name,
            was=former_state,
            reason=opened.reason if opened else None,
            next_probe_in_s=round((opened.probe_ms - self._session.now_ms()) / 1000, 1) if opened else None,
            note=_REFUSAL_NOTE if is_refusal else None,
        )

    def _now(self) -> float:
        return self._loop.time()
