"""The breaker of a lane: it opens when the subscriber is down, so that events wait instead of burning their attempts.

    closed    everything may be in flight; opens after a run of failures of different deliveries, or if most fail
    open      nothing is sent until the next probe is due; then one delivery at a time, after longer and longer waits
    ramping   a probe got through: a little more may be in flight with every round that succeeds, until all may, or it
              has gone well for a while

A probe costs its delivery none of its attempts. A run of failures of one delivery alone opens nothing: that may be the
event and not the subscriber, and the delivery's own schedule deals with it. Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from relay.core.delivery.outcome import JITTER, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from relay.core.delivery.outcome import Attempt

_DOWN = {Outcome.THROTTLED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNREACHABLE}
"""Outcomes that may mean that the subscriber is down; all others but success say nothing about that."""


class State(StrEnum):
    """Where a breaker stands; the values are what logs and `relay subscriptions list` say."""

    CLOSED = "closed"
    OPEN = "open"
    RAMPING = "ramping"


@dataclass(frozen=True, slots=True)
class Limits:
    """When it opens, and how it comes back."""

    run: int = 5
    """Different deliveries that failed one after the other."""
    run_of_ramp: int = 2
    """The same, while it is ramping."""
    window: float = 10.0
    """Seconds that are looked back, and that a ramp lasts at most."""
    fewest: int = 20
    """Attempts in the window that tell something about their share of failures."""
    share: float = 0.8
    first_wait: float = 1.0
    """Seconds until the first probe; each later wait is twice as long."""
    longest_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """Why and since when a breaker is not closed; what outlives the process."""

    opened_ms: int
    """Unix milliseconds, as all times here."""
    probe_ms: int
    """When the next probe is due."""
    probes: int
    """How many have failed."""
    reason: str

    def encode(self) -> bytes:
        """As Redis keeps it."""
        return to_json(asdict(self))

    @classmethod
    def decode(cls, text: bytes | None) -> OpenBreaker | None:
        """What `encode` wrote."""
        return cls(**from_json(text)) if text else None


class CircuitBreaker:
    """Decides how many deliveries of a lane may be in flight."""

    def __init__(self, concurrency: int, random: Callable[[], float], trip: OpenBreaker | None, limits: Limits) -> None:
        """`random` gives a number in [0, 1); `trip` is what a former holder of the lane left, if it was not closed."""
        self.trip = trip
        self._concurrency = concurrency
        self._random = random
        self._limits = limits
        self._tripped_ms = 0
        self._run: set[Hashable] = set()
        self._recent: deque[tuple[int, bool]] = deque()
        self._failures = 0
        self._ramp = 0  # how many may be in flight on the way back; 0 while it is open or closed
        self._ramped_ms = 0
        self._succeeded = 0  # in this round of the ramp

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.trip is None:
            return State.CLOSED
        return State.RAMPING if self._ramp else State.OPEN

    def most_in_flight(self, now_ms: int) -> int:
        """How many deliveries may be in flight."""
        if self.trip is None:
            return self._concurrency
        return self._ramp or int(now_ms >= self.trip.probe_ms)

    def record(self, delivery: Hashable, attempt: Attempt, now_ms: int) -> None:
        """Takes in what came of an attempt on `delivery`; `trip` changes where it opens or closes, or a probe fails."""
        is_success = attempt.outcome is Outcome.DELIVERED
        if not is_success and attempt.outcome not in _DOWN:
            return
        if attempt.at_ms < self._tripped_ms:
            return  # it was on its way already when this opened
        if is_success:
            self._run.clear()
        else:
            self._run.add(delivery)
        match self.state:
            case State.CLOSED:
                self._note_closed(attempt, now_ms, is_success=is_success)
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

    def _note_closed(self, attempt: Attempt, now_ms: int, *, is_success: bool) -> None:
        limits, recent = self._limits, self._recent
        recent.append((now_ms, is_success))
        self._failures += not is_success
        while recent[0][0] < now_ms - limits.window * 1000:
            _, was_success = recent.popleft()
            self._failures -= not was_success
        most_fail = len(recent) >= limits.fewest and self._failures >= limits.share * len(recent)
        if not is_success and (len(self._run) >= limits.run or most_fail):
            self._open(attempt, now_ms)

    def _open(self, attempt: Attempt, now_ms: int) -> None:
        limits, former = self._limits, self.trip
        probes = former.probes + 1 if former else 0
        wait = min(limits.first_wait * 2 ** min(probes, 32), limits.longest_wait)
        wait = max(wait * (1 + JITTER * (2 * self._random() - 1)), attempt.retry_after or 0.0)
        opened_ms = former.opened_ms if former else now_ms
        reason = f"{attempt.outcome}: {attempt.status or attempt.detail}"
        self.trip = OpenBreaker(opened_ms, now_ms + round(wait * 1000), probes, reason)
        self._tripped_ms = now_ms
        self._forget()

    def _widen(self, now_ms: int) -> None:
        """Lets one more be in flight after a round of successes; closes it when that is everything."""
        if self._succeeded >= self._ramp:
            self._ramp += 1
            self._succeeded = 0
        if self._ramp > self._concurrency:
            self._close()
        else:
            self.tick(now_ms)

    def tick(self, now_ms: int) -> None:
        """Closes it when it has ramped for long enough, be it for want of deliveries."""
        ends_ms = self.ramp_ends_ms
        if ends_ms is not None and now_ms >= ends_ms:
            self._close()

    @property
    def ramp_ends_ms(self) -> int | None:
        """When it will be closed at the latest; None if it is not ramping."""
        return self._ramped_ms + round(self._limits.window * 1000) if self._ramp else None

    def _close(self) -> None:
        self.trip = None
        self._forget()

    def _forget(self) -> None:
        self._ramp = self._failures = 0
        self._run.clear()
        self._recent.clear()
