"""Delivery attempts and their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name
from relay.core.delivery.outcome import Outcome
from relay.services.deliveries import attempts
from relay.store.lanes.attempts.record import ShapeWord
from relay.web.api.filters import AttemptCriteria
from relay.web.api.models import Moment, Output, Page, Paging, moment, optional_moment
from relay.web.api.operation import Call, Tag, operation

if TYPE_CHECKING:
    from relay.store.lanes.attempts.log import FoundAttempt

TAG = Tag("attempts", "What was sent to push subscriptions, and what they answered.")


class Attempt(Output):
    """A POST to a subscriber."""

    subscription: str
    topic: str
    entry: str
    """Its place in the topic, or among the subscription's replays."""
    event: str
    """The id of the event."""
    type: str
    line: str | None
    chat: str | None
    message: str | None
    trace: str | None
    number: int
    """1, 2, ...: the value of `Relay-Attempt`."""
    at: Moment
    """Start of the attempt."""
    took_ms: int
    """From the start to the end, milliseconds."""
    outcome: Outcome
    """`delivered`, or the kind of failure."""
    status: int | None
    """The HTTP status; null without a response."""
    detail: str
    """The error, or the start of the response; empty for a success."""
    next: Moment | None
    """Time of the next attempt."""
    dead: str | None
    """The reason why it was the last one; null if it was not a failure for good."""
    is_probe: bool
    """True if the circuit breaker was open."""
    is_replay: bool
    """True if the event was sent again."""
    is_test: bool
    """True if the event is a sample of a test."""
    shape: ShapeWord | None
    """`translated` if the body was sent in the subscription's `shape` in place of Linq's version, `untranslated` if it
    could not be; null if there was nothing to do.
    """
    counted: bool
    """False if the verdict came too late to count."""


class AttemptQuery(AttemptCriteria, Paging):
    """Attempts that are asked for."""

    subscription: Name | None = None


def attempt_of(found: FoundAttempt) -> Attempt:
    """Return an attempt as the API shows it."""
    attempt = found.attempt
    return Attempt(
        subscription=found.subscription,
        topic=attempt.topic,
        entry=attempt.entry,
        event=attempt.event_id,
        type=attempt.type,
        line=attempt.line,
        chat=attempt.chat,
        message=attempt.message,
        trace=attempt.trace,
        number=attempt.number,
        at=moment(attempt.at_ms),
        took_ms=attempt.took_ms,
        outcome=attempt.outcome,
        status=attempt.status,
        detail=found.detail,
        next=optional_moment(attempt.due_ms),
        dead=attempt.dead,
        is_probe=attempt.is_probe,
        is_replay=attempt.is_replay and not attempt.is_test,
        is_test=attempt.is_test,
        shape=attempt.shape,
        counted=found.counted,
    )


@operation("GET", "/attempts", tag=TAG, scope=Scope.READ, errors={404})
async def list_attempts(call: Call, query: AttemptQuery) -> Page[Attempt]:
    """Search attempts, the newest first."""
    page = await attempts.search(
        call.context,
        call.principal,
        query.subscription,
        query.as_filter(call.context.now_ms),
        query.cursor,
        query.limit,
    )
    return Page[Attempt](items=[attempt_of(found) for found in page.items], next=page.next)


OPERATIONS = (list_attempts,)
