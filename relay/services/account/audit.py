"""The audit: what operators and teams changed, who, when and why."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.event_filter import EventFilter
from relay.services.account.teams import begin_of_team
from relay.services.page import DEFAULT_LIMIT, Page, bound_at, check_limit, page_of, place_of
from relay.store.audit import AuditRecord, record_of, records, streams_of
from relay.store.driver.merged_streams import merged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.driver.merged_streams import Entry

_ANY = EventFilter()


async def search(  # noqa: PLR0913  what can be asked for
    context: Context,
    principal: Principal,
    which: EventFilter = _ANY,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
    *,
    who: str | None = None,
    team: str | None = None,
) -> Page[AuditRecord]:
    """Return a page of changes, newest first, also by a part of the author's name and by team; a team gets its own.

    Raises:
        Invalid: the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    after, limit = place_of(cursor), check_limit(limit)
    since, until = bound_at(max(which.since_ms or 0, await _begin(context, principal))), bound_at(which.until_ms)

    def matching(entry: Entry) -> AuditRecord | None:
        found = record_of(entry)
        is_chosen = principal.owns(found.team) and found.is_by(who, team) and which.matches(found.as_candidate())
        return found if is_chosen else None

    streams = await streams_of(context.redis, principal.team)  # a cursor has ids of the streams that are read
    entries = merged(context.redis, streams, newest_first=True, after=after, since=since, until=until)
    return await page_of(entries, limit, matching)


async def export(
    context: Context,
    principal: Principal,
    which: EventFilter = _ANY,
    *,
    who: str | None = None,
    team: str | None = None,
) -> AsyncGenerator[AuditRecord]:
    """Yield all changes that match, newest first; a team gets its own."""
    principal.require(Scope.READ)
    begin_ms = await _begin(context, principal)
    async with aclosing(records(context.redis, which, principal.team)) as newest_first:
        async for found in newest_first:
            if found.at_ms < begin_ms:
                return
            if principal.owns(found.team) and found.is_by(who, team):
                yield found


async def _begin(context: Context, principal: Principal) -> int:
    """Return the time of the first record that a principal may see: what is older is of a former team of its name."""
    return 0 if principal.team is None else await begin_of_team(context, principal.team)
