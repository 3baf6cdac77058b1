"""Search of events by what they have: handle, chat, message, line, type and time, in what the topics still hold.

No index is kept: the topics are read, newest first, for a bounded time, and the caller continues with the cursor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.conditions.handles import is_email, normalised_handle
from relay.core.errors import Invalid, Problem
from relay.core.lines import is_line
from relay.core.patterns import EVERYTHING, pattern_problem
from relay.linq.payloads.handles import has_handle, quoted
from relay.services.access import check_topic, topics_of
from relay.services.topics.history.scan import Budget, Period, ScanTarget, scan
from relay.services.topics.history.view import EventView, view_of
from relay.store.topics.stream_search import Condition, Kind, meets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.history.scan import Progress

SECONDS = 0.05
"""The time that one call takes by default."""
DEFAULT_LIMIT, MAX_LIMIT = 50, 500

_CURSOR = re.compile(r"(\d{1,15})(?:-(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Criteria that are combined with "and"; None is no criterion."""

    handle: str | None = None
    """A phone number or an e-mail address of a person in the conversation, anywhere in the body but in its texts."""
    chat: str | None = None
    message: str | None = None
    line: str | None = None
    event_type: str | None = None
    """A pattern, as in a topic."""
    topic: str | None = None
    since_ms: float | None = None
    """The first moment of routing, Unix milliseconds."""
    until_ms: float | None = None
    """The moment after the last one."""

    def checked(self) -> Criteria:
        """Return the criteria as a search takes them.

        Raises:
            Invalid: some of them can match nothing; names each.
        """
        problems = []
        handle = None
        if self.handle is not None:
            try:
                handle = normalised_handle(self.handle)
            except ValueError as error:
                problems.append(Problem("handle", str(error)))
        if self.line is not None and not is_line(self.line):
            problems.append(Problem("line", f'"{self.line}" is not a phone number in E.164, such as +16465550123'))
        if self.event_type is not None and (problem := pattern_problem(self.event_type)):
            problems.append(Problem("type", problem))
        if self.since_ms is not None and self.until_ms is not None and self.since_ms >= self.until_ms:
            problems.append(Problem("since", "it is not before the end of the period"))
        if problems:
            raise Invalid(*problems)
        return Criteria(tuple(self._conditions(handle)), handle)

    def _conditions(self, handle: str | None) -> list[Condition]:
        fields = {"chat": self.chat, "message": self.message, "line": self.line}
        found = [Condition(name, Kind.IS, value) for name, value in fields.items() if value is not None]
        if self.event_type is not None and self.event_type != EVERYTHING:
            family = self.event_type.removesuffix(EVERYTHING)
            found.append(Condition("type", Kind.IS if family == self.event_type else Kind.BEGINS, family))
        if handle is not None:
            found.append(Condition("body", Kind.HAS_LIKE if is_email(handle) else Kind.HAS, quoted(handle)))
        return found


@dataclass(frozen=True, slots=True)
class Criteria:
    """Checked criteria."""

    conditions: tuple[Condition, ...]
    handle: str | None
    """In its normalised form."""

    def accepts(self, fields: Mapping[bytes, bytes]) -> bool:
        """Return True if an entry that meets the conditions really has the handle."""
        return self.handle is None or has_handle(fields.get(b"body", b""), self.handle)

    def match(self, fields: Mapping[bytes, bytes]) -> bool:
        """Return True if an entry meets the conditions and is accepted."""
        return all(meets(fields, condition) for condition in self.conditions) and self.accepts(fields)


@dataclass(frozen=True, slots=True)
class FoundEvents:
    """A page of a search, newest first."""

    events: tuple[EventView, ...]
    cursor: str | None
    """Continues the search; None if there is nothing more."""
    searched_to_ms: int | None
    """Everything that was routed since then has been searched, Unix milliseconds; None if all that is held was, or all
    of the period.
    """
    entries: int
    """The number of entries that were read."""


async def search(  # noqa: PLR0913  a query, a page and bounds
    context: Context,
    principal: Principal,
    query: EventQuery,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
    *,
    seconds: float | None = SECONDS,
    progress: Callable[[Progress], None] | None = None,
) -> FoundEvents:
    """Search the topics that the principal sees, newest first, for `seconds` (None: until it is done).

    A call that has found nothing may have a cursor: there was no time to search more.

    Raises:
        NotFound: there is no topic of the query's name.
        Invalid: the query, the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    criteria = query.checked()
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(Problem("limit", f"it must be from 1 to {MAX_LIMIT}"))
    period = period_after(cursor, _whole(query.since_ms), _whole(query.until_ms))
    if query.topic is not None:
        await check_topic(context, principal, query.topic)
    topics = await topics_of(context, principal) if query.topic is None else [query.topic]
    wanted = ScanTarget(criteria.conditions, limit, criteria.accepts)
    found = await scan(context.redis, topics, wanted, period, Budget(seconds), progress)
    return FoundEvents(
        events=tuple(view_of(context.settings, hit.fields, *hit.places) for hit in found.hits),
        cursor=cursor_of(found.rest),
        searched_to_ms=found.reached_ms,
        entries=found.read,
    )


def period_after(cursor: str | None, since_ms: int | None, until_ms: int | None) -> Period:
    """Return the period that is left after `cursor`.

    Raises:
        Invalid: it is no cursor.
    """
    if cursor is None:
        return Period(since_ms, until_ms)
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Invalid(Problem("cursor", "it is not one that a search returned; begin without it"))
    return Period(since_ms, int(match[1]), int(match[2] or 0))


def cursor_of(rest: Period | None) -> str | None:
    """Return the cursor that continues with a period; None if nothing is left."""
    if rest is None or rest.before_ms is None:
        return None
    return f"{rest.before_ms}-{rest.skip}" if rest.skip else str(rest.before_ms)


def _whole(ms: float | None) -> int | None:
    return None if ms is None else max(round(ms), 0)
