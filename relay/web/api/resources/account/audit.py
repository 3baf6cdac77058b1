"""The audit: what was changed, who did it, when and why."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import Field

from relay.core.access.scopes import Scope
from relay.core.event_filter import EventFilter
from relay.services.account import audit
from relay.web.api.filters import Period, Text
from relay.web.api.models import Moment, Output, Page, Paging, ms_of
from relay.web.api.operation import JSON_LINES, Call, Tag, operation

TAG = Tag("audit", "What was changed with the command line, the API and the pages: who, when and why.")


class AuditedChange(Output):
    """A change that was ordered."""

    id: str
    """The id of the record."""
    at: Moment = Field(validation_alias="at_ms")
    """Time of the order."""
    who: str
    """A person at a machine, or a token's label and id."""
    team: str | None
    """The team of who ordered it; null for an operator."""
    source: str
    """The address from which the request came, or `cli`."""
    command: str
    """The command, such as `subscriptions delete`."""
    target: str
    """The subscription, topic or other thing that was changed."""
    count: int | None
    """The number of things that were chosen; null where that is not known before."""
    why: str
    """The reason; empty if none was given."""


class AuditCriteria(Period):
    """Criteria that are combined with "and"."""

    reason: Text | None = None
    """A part of the reason."""

    def as_filter(self, now_ms: int) -> EventFilter:
        """Return the filter of the services."""
        since, until = ms_of(self.since, now_ms), ms_of(self.until, now_ms)
        return EventFilter(reason=self.reason, since_ms=since, until_ms=until)


class AuditQuery(AuditCriteria, Paging):
    """Changes that are asked for."""


@operation("GET", "/audit", tag=TAG, scope=Scope.READ)
async def list_audit(call: Call, query: AuditQuery) -> Page[AuditedChange]:
    """List changes, the newest first; a team sees its own."""
    page = await audit.search(
        call.context, call.principal, query.as_filter(call.context.now_ms), query.cursor, query.limit
    )
    return Page[AuditedChange](items=[AuditedChange.model_validate(found) for found in page.items], next=page.next)


@operation("GET", "/audit/export", tag=TAG, scope=Scope.READ, media_type=JSON_LINES)
async def export_audit(call: Call, query: AuditCriteria) -> AsyncIterator[AuditedChange]:
    """Export the changes as JSON lines, the newest first."""
    return _lines(call, query.as_filter(call.context.now_ms))


async def _lines(call: Call, which: EventFilter) -> AsyncIterator[AuditedChange]:
    async for found in audit.export(call.context, call.principal, which):
        yield AuditedChange.model_validate(found)


OPERATIONS = (list_audit, export_audit)
