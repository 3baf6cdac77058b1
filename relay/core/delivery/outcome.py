"""Outcome of an attempt, and the decision that follows from it.

An attempt (one POST) ends in one `Outcome` of a closed set; `outcome_of_status` derives it from an HTTP status: 2xx is
delivered; 429, 5xx, timeouts and network errors are retried; 410 pauses the subscription; other responses are final.
`decide` turns the outcome and the subscription's policy into the delivery's next state; it has no side effects.
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
"""Maximum share by which a wait is lengthened or shortened at random, so that simultaneous retries spread out but a
schedule stays readable.
"""


MAX_RETRY_AFTER = 3600.0
"""Maximum seconds that are honoured of one Retry-After."""


class Outcome(StrEnum):
    """Outcome of one attempt; the values appear in logs, metrics and dead letters."""

    DELIVERED = "delivered"
    THROTTLED = "throttled"
    """429 or 503: the subscriber asks to slow down."""
    FAILED = "failed"
    """Another 5xx, or 408 or 425."""
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    """DNS, connect, TLS, a lost connection, or a destination that `[egress]` refuses."""
    REJECTED = "rejected"
    """Another 4xx: the subscriber rejects this event."""
    GONE = "gone"
    """410."""
    REDIRECTED = "redirected"
    """3xx (or 1xx): never followed, since a redirected POST would lose its body or invalidate its signature."""


class Attempt(NamedTuple):  # made for every delivery, in a third of the time that a frozen dataclass takes
    """A POST and its outcome."""

    outcome: Outcome
    at_ms: int
    """Start time, Unix milliseconds."""
    took_ms: int
    status: int | None = None
    """HTTP status, if there was a response."""
    detail: str = ""
    """Error, or the beginning of a response that was not 2xx."""
    retry_after: float | None = None
    """Seconds that the subscriber requested with Retry-After."""
    is_resent: bool = False
    """True if a kept connection was lost under the POST, which was sent again on a new one within this attempt."""
    shape: str | None = None
    """The `Relay-Shape` with which it was sent."""
    answer: str = ""
    """Start of a 2xx response, if it is kept for a comparison."""

    @property
    def ended_ms(self) -> int:
        """End time, Unix milliseconds."""
        return self.at_ms + self.took_ms


@dataclass(frozen=True, slots=True)
class Shortage:
    """No attempt: the POST could not be sent for want of something of ours, such as descriptors, ports or DNS.

    It is no outcome: nothing is recorded, no breaker counts it, and the delivery is started again a little later.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The delivery is settled: the subscriber has the event."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """The delivery is settled: the subscription's filter does not match the event."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The delivery waits for its next attempt."""

    due_ms: int
    counts: bool = True
    """True if the attempt counts as one of the schedule's attempts."""


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """The delivery becomes a dead letter."""

    reason: str


Verdict = Delivered | Filtered | RetryAt | DeadLettered

_DELIVERED = Delivered()


def outcome_of_status(status: int) -> Outcome:  # noqa: PLR0911  a table, one row per return
    """Return the outcome for an HTTP status."""
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
    """Parse a Retry-After header into seconds, at most an hour; None if it is absent or invalid.

    The header is a number or an HTTP date (RFC 9110, 10.2.3).
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
    """Retry policy of a subscription."""

    @property
    def retry(self) -> Sequence[float]:
        """Seconds to wait before the second, third, ... attempt."""

    @property
    def retry_4xx(self) -> bool:
        """True if a 4xx without a rule of its own is retried."""

    @property
    def max_age(self) -> float | None:
        """Seconds after which an event is no longer attempted."""


class AttemptContext(NamedTuple):
    """State of a delivery at the time of an attempt."""

    tries: int
    """Number of attempts that count, including this one."""
    since_ms: int
    """Time at which the event was accepted, or replayed to the lane; Unix milliseconds."""
    is_probe: bool = False
    """True if the breaker was open: a failed probe does not count as an attempt."""
    is_held: bool = False
    """True if the breaker is open after the attempt: a final response makes no dead letter, the delivery waits."""


def decide(attempt: Attempt, context: AttemptContext, policy: Policy, random: Callable[[], float]) -> Verdict:
    """Decide the next state of a delivery after `attempt`; `random` returns a number in [0, 1)."""
    outcome = attempt.outcome
    match outcome:
        case Outcome.DELIVERED:
            return _DELIVERED
        case Outcome.THROTTLED | Outcome.FAILED | Outcome.TIMED_OUT | Outcome.UNREACHABLE:
            return _retry_at(attempt, context, policy, random, counts=not context.is_probe)
        case Outcome.REJECTED | Outcome.REDIRECTED if context.is_held:
            return _retry_at(attempt, context, policy, random, counts=False)
        case Outcome.REJECTED if policy.retry_4xx:
            return _retry_at(attempt, context, policy, random, counts=not context.is_probe)
        case Outcome.REJECTED | Outcome.REDIRECTED:
            return DeadLettered(f"{outcome}: status {attempt.status}")
        case Outcome.GONE:
            return RetryAt(attempt.ended_ms, counts=False)  # it waits until the subscription is resumed
        case _:
            assert_never(outcome)


def is_expired(since_ms: int, policy: Policy, at_ms: int) -> bool:
    """Return True if an event is too old to be attempted at `at_ms`."""
    return policy.max_age is not None and at_ms - since_ms > policy.max_age * 1000


def expiry(policy: Policy) -> DeadLettered:
    """Return the verdict on an event that is too old."""
    return DeadLettered(f"expired: older than {format_duration(policy.max_age or 0)}")


def _retry_at(
    attempt: Attempt, context: AttemptContext, policy: Policy, random: Callable[[], float], *, counts: bool
) -> Verdict:
    schedule, tries = policy.retry, context.tries
    if tries > len(schedule) and counts:
        return DeadLettered(f"{attempt.outcome}: no attempt left of {tries}")
    wait = schedule[min(tries, len(schedule)) - 1] if schedule else 0.0
    wait = max(wait * (1 + JITTER * (2 * random() - 1)), attempt.retry_after or 0.0)
    due_ms = attempt.ended_ms + round(wait * 1000)
    if is_expired(context.since_ms, policy, due_ms):
        return expiry(policy)
    return RetryAt(due_ms, counts=counts)
