"""The quarantine: webhooks whose signature was valid, and that could not be parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from relay.core.access.scopes import Scope
from relay.core.event_filter import EventFilter
from relay.services.operators import quarantine
from relay.services.topics.history.view import shown_body
from relay.web.api.filters import LineText, Period, Text, check_choice
from relay.web.api.models import Input, Moment, Output, Page, Paging, Why, ms_of
from relay.web.api.operation import Call, Tag, operation

if TYPE_CHECKING:
    from relay.store.inbox.quarantine import QuarantinedBody

TAG = Tag("quarantine", "Webhooks that could not be parsed; for operators.")

EntryId = Annotated[str, Field(pattern=r"^\d{1,15}-\d{1,10}$", examples=["1789377302417-0"])]


class EntryPath(Input):
    """The path of a quarantined webhook."""

    entry: EntryId


class Quarantined(Output):
    """A webhook that could not be parsed."""

    id: str
    """Its id in the quarantine."""
    at: Moment
    """Time of arrival."""
    dialect: str
    """Linq's API that sent it: `v3` or `v2`."""
    line: str | None
    """The number of ours in its URL; null for none."""
    reason: str
    """The reason why it cannot be parsed."""
    bytes: int
    """The size of its body."""


class QuarantinedInFull(Quarantined):
    """A webhook that could not be parsed, with its body."""

    body: str
    """As UTF-8; bytes that are none are replaced."""


class Criteria(Period):
    """Criteria that are combined with "and"."""

    line: LineText | None = None
    reason: Text | None = None
    """A part of the reason."""
    id: EntryId | None = None
    """The id in the quarantine."""

    def as_filter(self, now_ms: int) -> EventFilter:
        """Return the filter of the services."""
        return EventFilter(
            line=self.line,
            reason=self.reason,
            event_ids=None if self.id is None else {self.id},
            since_ms=ms_of(self.since, now_ms),
            until_ms=ms_of(self.until, now_ms),
        )


class QuarantineQuery(Criteria, Paging):
    """Quarantined webhooks that are asked for."""


class QuarantineSelection(Criteria):
    """The quarantined webhooks that a change is about."""

    why: Why
    dry_run: bool = False
    """Change nothing, and only count."""
    all: bool = False
    """Needed without a criterion: all of them."""

    @model_validator(mode="after")
    def _check(self) -> QuarantineSelection:
        check_choice(not self.as_filter(0).is_any, self.all, "a criterion, such as id or since")
        return self


class Retried(Output):
    """The result of a retry."""

    accepted: int
    """Bodies that could be parsed now."""
    repeats: int
    """Bodies whose event was accepted before."""
    unreadable: int
    """Bodies that stay in quarantine."""


class DroppedBodies(Output):
    """The result of dropping."""

    dropped: int
    """The number of webhooks that are gone."""


@operation("GET", "/quarantine", tag=TAG, scope=Scope.READ, operators_only=True)
async def list_quarantine(call: Call, query: QuarantineQuery) -> Page[Quarantined]:
    """List quarantined webhooks, the oldest first."""
    page = await quarantine.search(
        call.context, call.principal, query.as_filter(call.context.now_ms), query.cursor, query.limit
    )
    return Page[Quarantined](items=[Quarantined.model_validate(_shown(body)) for body in page.items], next=page.next)


@operation("GET", "/quarantine/{entry}", tag=TAG, scope=Scope.READ, operators_only=True)
async def get_quarantined(call: Call, path: EntryPath) -> QuarantinedInFull:
    """Get a quarantined webhook with its body."""
    found = await quarantine.get(call.context, call.principal, path.entry)
    body = str(shown_body(call.context.settings, found.body))
    return QuarantinedInFull.model_validate({**_shown(found), "body": body})


@operation("POST", "/quarantine/retry", tag=TAG, scope=Scope.ADMIN, operators_only=True, idempotent=True)
async def retry_quarantine(call: Call, body: QuarantineSelection) -> Retried:
    """Parse quarantined webhooks again; those that can be parsed now become events."""
    which = body.as_filter(call.context.now_ms)
    retried = await quarantine.retry(call.context, call.principal, which, body.why, dry_run=body.dry_run)
    return Retried.model_validate(retried)


@operation("POST", "/quarantine/drop", tag=TAG, scope=Scope.ADMIN, operators_only=True, idempotent=True)
async def drop_quarantine(call: Call, body: QuarantineSelection) -> DroppedBodies:
    """Drop quarantined webhooks; the ledger keeps their number."""
    which = body.as_filter(call.context.now_ms)
    dropped = await quarantine.drop(call.context, call.principal, which, body.why, dry_run=body.dry_run)
    return DroppedBodies(dropped=dropped)


def _shown(found: QuarantinedBody) -> dict[str, object]:
    return {
        "id": found.entry,
        "at": found.at,
        "dialect": found.dialect,
        "line": found.line,
        "reason": found.reason,
        "bytes": len(found.body),
    }


OPERATIONS = (list_quarantine, get_quarantined, retry_quarantine, drop_quarantine)
