"""What came of an attempt, and what follows from it.

An attempt (one POST) ends in one `Outcome` of a closed set; `outcome_of_status` reads it from an HTTP status: 2xx is
delivered; 429, 5xx, timeouts and network errors are worth another try; 410 pauses the subscription; other answers are
the end. `decide` turns the outcome and the subscription's policy into the delivery's next state; it does nothing
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, assert_never

from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

JITTER = 0.1
"""Waits are stretched or shortened by up to this part, so that retries of one moment spread out but a schedule stays
readable.
"""


MAX_RETRY_AFTER = 3600.0
"""Seconds that a subscriber can put us off with one Retry-After."""


class Outcome(StrEnum):
    """What came of one attempt; the values are what logs, metrics and dead letters say."""

    DELIVERED = "delivered"
    THROTTLED = "throttled"
    """429 or 503: the subscriber asks for patience."""
    FAILED = "failed"
    """Another 5xx, or 408 or 425."""
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    """DNS, connect, TLS, a connection that broke off, or a destination that `[egress]` refuses."""
    REJECTED = "rejected"
    """Another 4xx: the subscriber does not want this event."""
    GONE = "gone"
    """410."""
    REDIRECTED = "redirected"
    """3xx (or 1xx): never followed, since a POST would lose its body or its signature's meaning on the way."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST and what came of it."""

    outcome: Outcome
    at_ms: int
    """When it began, Unix milliseconds."""
    took_ms: int
    status: int | None = None
    """The HTTP status, if an answer came."""
    detail: str = ""
    """The error, or the beginning of an answer that was not 2xx."""
    retry_after: float | None = None
    """Seconds that the subscriber asked for with Retry-After."""
    is_resent: bool = False
    """True if a kept connection was lost under the POST, which was sent again on a new one within this attempt."""

    @property
    def ended_ms(self) -> int:
        """When it ended, Unix milliseconds."""
        return self.at_ms + self.took_ms


@dataclass(frozen=True, slots=True)
class Shortage:
    """No attempt: the POST could not be sent for want of something of ours, such as descriptors, ports or DNS.

    It is no outcome: nothing is recorded, no breaker hears of it, and the delivery is started again a little later.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The delivery is settled: the subscriber has the event."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """The delivery is settled: the subscription has narrowed its topic to other events."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The delivery waits for its next attempt."""

    due_ms: int
    counts: bool = True
    """Whether the attempt was one of those that the schedule grants."""


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The delivery becomes a dead letter."""

    reason: str


Verdict = Delivered | Filtered | RetryAt | DeadLettered


def outcome_of_status(status: int) -> Outcome:  # noqa: PLR0911  a table, one row a return
    """The outcome that an HTTP status stands for."""
    match status:
        case _ if 200 <= status < 300:
            return Outcome.DELIVERED
        case 429 | 503:
            return Outcome.THROTTLED
        case 408 | 425:
            return Outcome.FAILED
        case 410:
            return Outcome.GONE
        case _ if 400 <= status < 500:
            return Outcome.REJECTED
        case _ if status >= 500:
            return Outcome.FAILED
        case _:
            return Outcome.REDIRECTED


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, at most an hour; None if it says nothing.

    The header holds a number or an HTTP date (RFC 9110, 10.2.3).
    """
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            seconds = float(value)
        else:
            at = parsedate_to_datetime(value)
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now  # without a zone it means UTC
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


class Policy(Protocol):
    """What a subscription says about trying again."""

    @property
    def retry(self) -> Sequence[float]:
        """Seconds to wait before the second, third ... attempt."""

    @property
    def retry_4xx(self) -> bool:
        """Whether a 4xx that no other rule is for is worth another attempt."""

    @property
    def max_age(self) -> float | None:
        """Seconds after which an event is no longer attempted."""


class AttemptContext(NamedTuple):
    """Where a delivery stands when an attempt was made."""

    tries: int
    """The attempts that count, this one included."""
    since_ms: int
    """When the event was accepted, or given to the lane again; Unix milliseconds."""
    is_probe: bool = False
    """Whether the breaker was open: a probe that fails costs nothing."""


def decide(attempt: Attempt, standing: AttemptContext, policy: Policy, random: Callable[[], float]) -> Verdict:
    """What becomes of a delivery after `attempt`; `random` gives a number in [0, 1)."""
    outcome = attempt.outcome
    match outcome:
        case Outcome.DELIVERED:
            return Delivered()
        case Outcome.THROTTLED | Outcome.FAILED | Outcome.TIMED_OUT | Outcome.UNREACHABLE:
            return _retry_at(attempt, standing, policy, random)
        case Outcome.REJECTED if policy.retry_4xx:
            return _retry_at(attempt, standing, policy, random)
        case Outcome.REJECTED | Outcome.REDIRECTED:
            return DeadLettered(f"{outcome}: status {attempt.status}")
        case Outcome.GONE:
            return RetryAt(attempt.ended_ms, counts=False)  # it waits until the subscription is resumed
        case _:
            assert_never(outcome)


def is_expired(since_ms: int, policy: Policy, at_ms: int) -> bool:
    """Whether an event is too old to be attempted at `at_ms`."""
    return policy.max_age is not None and at_ms - since_ms > policy.max_age * 1000


def expiry(policy: Policy) -> DeadLettered:
    """The verdict on an event that is too old."""
    return DeadLettered(f"expired: older than {format_duration(policy.max_age or 0)}")


def _retry_at(attempt: Attempt, standing: AttemptContext, policy: Policy, random: Callable[[], float]) -> Verdict:
    schedule, tries = policy.retry, standing.tries
    if tries > len(schedule) and not standing.is_probe:
        return DeadLettered(f"{attempt.outcome}: no attempt left of {tries}")
    wait = schedule[min(tries, len(schedule)) - 1] if schedule else 0.0
    wait = max(wait * (1 + JITTER * (2 * random() - 1)), attempt.retry_after or 0.0)
    due_ms = attempt.ended_ms + round(wait * 1000)
    if is_expired(standing.since_ms, policy, due_ms):
        return expiry(policy)
    return RetryAt(due_ms, counts=not standing.is_probe)
