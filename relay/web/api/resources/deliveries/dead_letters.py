"""Dead letters: deliveries that failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from relay.core.access.scopes import Scope
from relay.core.config.fields import Name
from relay.services.deliveries import dead_letters
from relay.services.deliveries.dead_letters import Choice
from relay.web.api.filters import EventCriteria, check_choice
from relay.web.api.models import Input, Moment, Output, Page, Paging, Why
from relay.web.api.operation import Call, Tag, operation
from relay.web.api.resources.deliveries.attempts import Attempt, attempt_of

if TYPE_CHECKING:
    from relay.store.lanes.dead_letters import DeadLetter as Found

TAG = Tag("dead letters", "Deliveries that failed for good: look at them, send them again, or drop them.")

LetterId = Annotated[str, Field(pattern=r"^\d{1,15}-\d{1,10}(\.[1-9]\d?)?$", examples=["1789377302417-0"])]


class LetterPath(Input):
    """The path of a dead letter."""

    subscription: Name
    letter: LetterId


class DeadLetter(Output):
    """A delivery that failed for good."""

    id: str
    """Its id within its subscription."""
    subscription: str
    topic: str
    event: str
    """The id of the event."""
    type: str
    line: str | None
    chat: str | None
    accepted: Moment
    """Time at which the relay accepted the event."""
    at: Moment
    """Time of the last attempt."""
    reason: str
    """The reason why it is not attempted any more."""
    tries: int
    """The number of attempts."""
    first_at: Moment
    """Start of the first attempt."""
    status: int | None
    """The HTTP status of the last attempt; null without a response."""
    detail: str
    """The error of the last attempt, or the start of its response."""


class DeadLetterInFull(DeadLetter):
    """A dead letter with its attempts."""

    attempts: list[Attempt]
    """The oldest first."""


class LetterQuery(EventCriteria, Paging):
    """Dead letters that are asked for."""

    subscription: Name | None = None


class DeadLetterSelection(EventCriteria):
    """The dead letters that a change is about: by their ids, or all that meet the criteria."""

    subscription: Name | None = None
    """Only those of this one; needed with `ids`."""
    ids: Annotated[tuple[LetterId, ...], Field(min_length=1, max_length=1000)] | None = None
    """Only these; the other criteria are then left out."""
    why: Why
    dry_run: bool = False
    """Change nothing, and only count."""
    all: bool = False
    """Needed without a subscription, ids and criteria: all dead letters that you may see."""

    @model_validator(mode="after")
    def _check(self) -> DeadLetterSelection:
        is_chosen = not (self.subscription is None and self.ids is None and self.as_filter(0).is_any)
        check_choice(is_chosen, self.all, "subscription, ids or a criterion")
        return self

    def as_choice(self, now_ms: int) -> Choice:
        """Return the choice of the services."""
        return Choice(self.subscription, self.as_filter(now_ms), self.ids)


class DeadLetterCounts(Output):
    """The number of dead letters of each subscription."""

    subscriptions: dict[str, int]
    """The number of each subscription."""
    total: int
    """The number of all."""


@operation("GET", "/dead-letters", tag=TAG, scope=Scope.READ, errors={404})
async def list_dead_letters(call: Call, query: LetterQuery) -> Page[DeadLetter]:
    """List dead letters, the oldest first."""
    page = await dead_letters.search(
        call.context,
        call.principal,
        query.subscription,
        query.as_filter(call.context.now_ms),
        query.cursor,
        query.limit,
    )
    return Page[DeadLetter](items=[DeadLetter.model_validate(_shown(found)) for found in page.items], next=page.next)


@operation("GET", "/subscriptions/{subscription}/dead-letters/{letter}", tag=TAG, scope=Scope.READ)
async def get_dead_letter(call: Call, path: LetterPath) -> DeadLetterInFull:
    """Get a dead letter with its attempts."""
    found = await dead_letters.get(call.context, call.principal, path.subscription, path.letter)
    attempts = [attempt_of(attempt) for attempt in found.attempts]
    return DeadLetterInFull.model_validate({**_shown(found.letter), "attempts": attempts})


@operation("POST", "/dead-letters/replay", tag=TAG, scope=Scope.REPLAY, idempotent=True, errors={404, 409})
async def replay_dead_letters(call: Call, body: DeadLetterSelection) -> DeadLetterCounts:
    """Send dead letters again, with all their attempts."""
    choice = body.as_choice(call.context.now_ms)
    return _counts(await dead_letters.replay(call.context, call.principal, choice, body.why, dry_run=body.dry_run))


@operation("POST", "/dead-letters/drop", tag=TAG, scope=Scope.REPLAY, idempotent=True, errors={404, 409})
async def drop_dead_letters(call: Call, body: DeadLetterSelection) -> DeadLetterCounts:
    """Drop dead letters.

    Their events are lost for the subscription; the ledger keeps their number.
    """
    choice = body.as_choice(call.context.now_ms)
    return _counts(await dead_letters.drop(call.context, call.principal, choice, body.why, dry_run=body.dry_run))


def _shown(letter: Found) -> dict[str, object]:
    record = letter.record
    return {
        "id": record.entry,
        "subscription": letter.subscription,
        "topic": letter.topic,
        "event": record.id,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
        "accepted": record.at,
        "at": letter.at,
        "reason": letter.reason,
        "tries": letter.tries,
        "first_at": letter.first_at,
        "status": letter.status,
        "detail": letter.detail,
    }


def _counts(by_subscription: dict[str, int]) -> DeadLetterCounts:
    return DeadLetterCounts(subscriptions=by_subscription, total=sum(by_subscription.values()))


OPERATIONS = (list_dead_letters, get_dead_letter, replay_dead_letters, drop_dead_letters)
