"""Circuit breaker of a lane: opens when the subscriber is down, so that events wait instead of using up their attempts.

    closed    full concurrency; opens after a run of failures of different deliveries, or if most attempts fail
    open      nothing is sent until the next probe is due; then one delivery at a time, with exponential backoff
    ramping   a probe succeeded: the limit of deliveries in flight grows with every round that succeeds, until it is the
              full concurrency or the ramp has lasted long enough

A failed probe does not count as one of its delivery's attempts. A run of failures of a single delivery does not open
the breaker: the cause may be the event and not the subscriber, and the delivery's own schedule handles it.

A response that makes a dead letter at once (404, 401, a redirect) may be the event's fault too, but not if many
different deliveries get the same one in a row: then the url or the endpoint is wrong, and the breaker opens, so that
the backlog waits for the repair. Pure.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from relay.core.delivery.outcome import JITTER, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from relay.core.delivery.outcome import Attempt

_DOWN = {Outcome.THROTTLED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNREACHABLE}
"""Outcomes that may mean that the subscriber is down."""
_REFUSED = {Outcome.REJECTED, Outcome.REDIRECTED}
"""Outcomes that may mean that the subscriber refuses everything."""
_DELIVERED = Outcome.DELIVERED
_INTERVALS = 100  # of a window; keeping each attempt would be 50,000 entries for a busy lane


class State(StrEnum):
    """State of a breaker; the values appear in logs and in `relay subscriptions list`."""

    CLOSED = "closed"
    OPEN = "open"
    RAMPING = "ramping"


class Limits(NamedTuple):
    """Thresholds for opening, and timing of probes and of the ramp."""

    run: int = 5
    """Number of different deliveries that fail in a row before the breaker opens."""
    run_of_refusals: int = 20
    """Number of different deliveries that get the same final response in a row before the breaker opens."""
    run_of_ramp: int = 2
    """Number of different deliveries that fail in a row, while it is ramping."""
    window: float = 10.0
    """Seconds of the sliding window, and the maximum length of a ramp."""
    fewest: int = 20
    """Minimum number of attempts in the window for `share` to apply."""
    share: float = 0.8
    """Share of failed attempts in the window at which the breaker opens."""
    first_wait: float = 1.0
    """Seconds until the first probe; each later wait is twice as long."""
    longest_wait: float = 60.0
    """Maximum seconds between probes."""


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """Reason and times of a breaker that is not closed; stored in Redis, so that it outlives the process."""

    opened_ms: int
    """Unix milliseconds, as all times here."""
    probe_ms: int
    """Time at which the next probe is due."""
    probes: int
    """Number of failed probes."""
    reason: str

    def encode(self) -> bytes:
        """Encode for Redis."""
        return to_json(asdict(self))

    @classmethod
    def decode(cls, text: bytes | None) -> OpenBreaker | None:
        """Decode the result of `encode`; None for None, and for a damaged record: a breaker opens again by itself."""
        with suppress(TypeError, ValueError):
            return cls(**from_json(text)) if text else None
        return None


@dataclass(slots=True)
class _Recent:
    """The attempts of a part of the sliding window."""

    began_ms: int
    attempts: int = 0
    failures: int = 0


class CircuitBreaker:
    """Circuit breaker: limits the deliveries of a lane that may be in flight."""

    def __init__(
        self, concurrency: int, random: Callable[[], float], open_state: OpenBreaker | None, limits: Limits
    ) -> None:
        """Restore from `open_state`, the stored state if it was not closed; `random` returns a number in [0, 1)."""
        self.open_state = open_state
        self._concurrency = concurrency
        self._random = random
        self._limits = limits
        self._opened_ms = 0
        self._run: set[Hashable] = set()
        self._refused: set[Hashable] = set()  # in a row, with the same status
        self._refused_with: int | None = None
        self._recent: deque[_Recent] = deque()
        self._interval_ms = limits.window * 1000 / _INTERVALS
        self._attempts = self._failures = 0  # in `_recent`
        self._ramp = 0  # limit of deliveries in flight while ramping; 0 while open or closed
        self._ramped_ms = 0
        self._succeeded = 0  # in this round of the ramp

    @property
    def state(self) -> State:
        """Current state."""
        if self.open_state is None:
            return State.CLOSED
        return State.RAMPING if self._ramp else State.OPEN

    def most_in_flight(self, now_ms: int) -> int:
        """Return the number of deliveries that may be in flight."""
        if self.open_state is None:
            return self._concurrency
        return self._ramp or int(now_ms >= self.open_state.probe_ms)

    def record(self, delivery: Hashable, attempt: Attempt, now_ms: int) -> None:
        """Record an attempt of `delivery`; `open_state` changes if the breaker opens or closes, or a probe fails."""
        is_success = attempt.outcome is _DELIVERED
        if attempt.at_ms < self._opened_ms:
            return  # it was in flight already when the breaker opened
        if attempt.outcome in _REFUSED:
            self._record_refusal(delivery, attempt, now_ms)
            return
        if not is_success and attempt.outcome not in _DOWN:
            return
        if is_success:
            self._run.clear()
            self._refused.clear()
        else:
            self._run.add(delivery)
        match self.state:
            case State.CLOSED:
                self._record_closed(attempt, now_ms, is_success=is_success)
            case State.OPEN if is_success:
                self._ramp, self._ramped_ms, self._succeeded = 1, now_ms, 1
                self._widen(now_ms)
            case State.OPEN:
                self._open(attempt, now_ms)
            case State.RAMPING if is_success:
                self._succeeded += 1
                self._widen(now_ms)
            case State.RAMPING if len(self._run) >= self._limits.run_of_ramp:
                self._open(attempt, now_ms)

    def _record_refusal(self, delivery: Hashable, attempt: Attempt, now_ms: int) -> None:
        if attempt.status != self._refused_with:
            self._refused_with = attempt.status
            self._refused.clear()
        self._refused.add(delivery)
        if self.state is State.OPEN or len(self._refused) >= self._limits.run_of_refusals:
            self._open(attempt, now_ms)

    def _record_closed(self, attempt: Attempt, now_ms: int, *, is_success: bool) -> None:
        limits, recent = self._limits, self._recent
        if not recent or now_ms - recent[-1].began_ms >= self._interval_ms:
            recent.append(_Recent(now_ms))
            while recent[0].began_ms < now_ms - limits.window * 1000:
                over = recent.popleft()
                self._attempts -= over.attempts
                self._failures -= over.failures
        recent[-1].attempts += 1
        self._attempts += 1
        if is_success:
            return
        recent[-1].failures += 1
        self._failures += 1
        most_fail = self._attempts >= limits.fewest and self._failures >= limits.share * self._attempts
        if len(self._run) >= limits.run or most_fail:
            self._open(attempt, now_ms)

    def _open(self, attempt: Attempt, now_ms: int) -> None:
        limits, former = self._limits, self.open_state
        probes = former.probes + 1 if former else 0
        wait = min(limits.first_wait * 2 ** min(probes, 32), limits.longest_wait)
        wait = max(wait * (1 + JITTER * (2 * self._random() - 1)), attempt.retry_after or 0.0)
        opened_ms = former.opened_ms if former else now_ms
        reason = f"{attempt.outcome}: {attempt.status or attempt.detail}"
        self.open_state = OpenBreaker(opened_ms, now_ms + round(wait * 1000), probes, reason)
        self._opened_ms = now_ms
        self._forget()

    def _widen(self, now_ms: int) -> None:
        """Raise the limit by one after a round of successes; close the breaker at the full concurrency."""
        if self._succeeded >= self._ramp:
            self._ramp += 1
            self._succeeded = 0
        if self._ramp > self._concurrency:
            self._close()
        else:
            self.tick(now_ms)

    def tick(self, now_ms: int) -> None:
        """Close the breaker if it has ramped for long enough, even without deliveries."""
        ends_ms = self.ramp_ends_ms
        if ends_ms is not None and now_ms >= ends_ms:
            self._close()

    @property
    def ramp_ends_ms(self) -> int | None:
        """Latest time at which the ramp ends; None if it is not ramping."""
        return self._ramped_ms + round(self._limits.window * 1000) if self._ramp else None

    def _close(self) -> None:
        self.open_state = None
        self._forget()

    def _forget(self) -> None:
        self._ramp = self._attempts = self._failures = 0
        self._run.clear()
        self._refused.clear()
        self._recent.clear()
