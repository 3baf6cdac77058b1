"""Log lines of a lane's deliveries; one wide line for each attempt."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import structlog

from relay.core.delivery.outcome import DeadLettered, Outcome, RetryAt
from relay.process.telemetry.context import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Attempt, AttemptContext, Verdict
    from relay.store.lanes.delivery import Delivery

_POSTPONEMENTS = 10.0  # seconds

log = structlog.get_logger()


def log_pause(lane: str, *, is_paused: bool) -> None:
    """Log that a lane was paused or resumed."""
    log.info("lane.paused" if is_paused else "lane.resumed", subscription=lane)


def log_attempt(
    subscription: Subscription,
    now_ms: Callable[[], int],
    delivery: Delivery,
    attempt: Attempt,
    context: AttemptContext,
    verdict: Verdict,
) -> None:
    """Log an attempt and its verdict: at INFO if it was delivered, or is a shadow's; else at WARNING.

    Its fields are built even if nothing is logged: ask `logs_successes` before.
    """
    shadow_of = subscription.shadow_of
    is_good = attempt.outcome is Outcome.DELIVERED or shadow_of is not None
    level = logging.INFO if is_good else logging.WARNING
    record = delivery.record
    more: dict[str, object] = {}
    if shadow_of is not None:
        more["shadow_of"] = shadow_of
    if context.is_probe:
        more["probe"] = True
    if attempt.is_resent:
        more["resent"] = True
    if attempt.shape is not None:
        more["shape"] = attempt.shape
    if isinstance(verdict, RetryAt):
        more["next_in_s"] = max(round((verdict.due_ms - now_ms()) / 1000, 1), 0)
    elif isinstance(verdict, DeadLettered):
        more["dead"] = verdict.reason
    log.log(
        level,
        "delivery.attempted",
        subscription=subscription.name,
        topic=delivery.topic,
        id=record.id,
        type=record.type,
        trace_id=trace_id_of(record.trace, record.id),
        line=record.line,
        attempt=context.tries,
        outcome=attempt.outcome,
        status=attempt.status,
        ms=attempt.took_ms,
        age_ms=attempt.at_ms + attempt.took_ms - record.at,
        **more,
    )


def logs_successes() -> bool:
    """Return True if the level of the log is INFO or below. It never changes, and structlog takes 2 us to tell it."""
    return bool(log.is_enabled_for(logging.INFO))


class PostponementLog:
    """The log of deliveries that a shortage of ours postponed: one line for each reason in 10 s, with their number."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._counts: dict[str, tuple[int, float]] = {}

    def add(self, reason: str, now: float) -> None:
        """Count a postponed delivery at `now`, seconds of any clock."""
        count, logged_at = self._counts.get(reason, (0, -_POSTPONEMENTS))
        count += 1
        if now - logged_at >= _POSTPONEMENTS:
            log.warning("delivery.postponed", subscription=self._lane, reason=reason, count=count)
            count, logged_at = 0, now
        self._counts[reason] = count, logged_at


def log_attempt_error(lane: str, delivery: Delivery, error: Exception) -> None:
    """Log the bug that an attempt has raised."""
    record = delivery.record
    trace_id = trace_id_of(record.trace, record.id)
    log.error("attempt.error", subscription=lane, id=record.id, trace_id=trace_id, exc_info=error)


def log_delivery_error(lane: str, error: BaseException) -> None:
    """Log the bug that ended the work on a delivery."""
    log.error("delivery.error", subscription=lane, error=repr(error), exc_info=error)
