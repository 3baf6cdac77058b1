"""The audit: what operators and teams changed, who, from where, when and why.

Operators have a stream, and each team one of its own, so that the records of a team only ever push out its own. An
operator reads them all as one, in the order of time. The streams of deleted teams stay.

A record is appended before the change is made, and a change that cannot be recorded is not made; so a record says what
was ordered, and its count what was chosen at that moment. Records are only ever appended; the oldest make room for new
ones. Dropping things frees memory, so a record is also written when Redis has reached `maxmemory`.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.principal import CLI
from relay.core.errors import StoreError
from relay.core.event_filter import Candidate, EventFilter
from relay.store.driver.client import REDIS_ERRORS, ask, describe
from relay.store.driver.merged_streams import merged
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Entry

MAX_RECORDS = 10_000
"""Number of operators' records that are kept, about 2 MB; Redis may keep a few more, to trim whole nodes."""
MAX_RECORDS_OF_TEAM = 2000
"""The same of each team."""

_MAX_TEXT = 1000  # characters of a reason or a target
_PAGE = 500  # records of a stream in one round trip

_OPERATORS = ""
"""The name of their stream among those of the teams."""
_append = Script(__package__, "audit_append")
_ANY = EventFilter()


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A change that an operator or a team ordered."""

    id: str
    at_ms: int
    """Unix milliseconds."""
    who: str
    command: str
    target: str
    """The subscription, topic or other thing that was changed."""
    count: int | None
    """The number of things that were chosen; None where that is not known before."""
    why: str
    """The reason; empty if none was given."""
    source: str = CLI
    """The address from which the request came, or `cli`."""
    team: str | None = None
    """The team that ordered it; None for an operator."""

    def as_candidate(self) -> Candidate:
        """Return the fields that a filter can match."""
        return Candidate(self.id, reason=self.why, at_ms=self.at_ms)

    def is_by(self, who: str | None, team: str | None) -> bool:
        """Return True if the name of its author contains `who`, and it was ordered by `team`; None is no criterion."""
        return (who is None or who in self.who) and (team is None or team == self.team)


async def record(  # noqa: PLR0913  the fields of a record
    redis: Redis,
    who: str,
    command: str,
    target: str,
    count: int | None = None,
    why: str = "",
    *,
    source: str = CLI,
    team: str | None = None,
) -> None:
    """Record a change; to be called before it is made.

    Raises:
        StoreError: it cannot be recorded, so it must not be made.
    """
    fields = {
        "who": who,
        "command": command,
        "target": target[:_MAX_TEXT],
        "count": "" if count is None else count,
        "why": why[:_MAX_TEXT],
        "from": source,
        "team": team or "",
    }
    stream, most = (redis.key.audit_of(team), MAX_RECORDS_OF_TEAM) if team else (redis.key.audit, MAX_RECORDS)
    arguments = [most, team or "", *(part for field in fields.items() for part in field)]
    try:
        await _append(redis, [stream, redis.key.audit_teams], arguments)
    except REDIS_ERRORS as error:
        raise StoreError(
            f"nothing was changed, because it could not be recorded in {stream}: {describe(error)}"
        ) from error


async def streams_of(redis: Redis, team: str | None) -> Mapping[str, str]:
    """Return the keys of the streams that a team sees, by name: its own; without a team, all."""
    if team is not None:
        return {team: redis.key.audit_of(team)}
    teams: set[bytes] = await ask(redis.smembers(redis.key.audit_teams))
    return {_OPERATORS: redis.key.audit} | {name.decode(): redis.key.audit_of(name.decode()) for name in teams}


async def records(redis: Redis, which: EventFilter = _ANY, team: str | None = None) -> AsyncGenerator[AuditRecord]:
    """Yield the records that match, newest first; those of `team`, or without one all."""
    newest_first = merged(redis, await streams_of(redis, team), newest_first=True, count=_PAGE // 2, max_count=_PAGE)
    async with aclosing(newest_first):
        async for entry in newest_first:
            found = record_of(entry)
            if which.since_ms is not None and found.at_ms < which.since_ms:
                return
            if which.matches(found.as_candidate()):
                yield found


def record_of(entry: Entry) -> AuditRecord:
    """Return the record in an entry of a stream."""
    fields = {name.decode(): text.decode() for name, text in entry.fields.items()}
    entry_id = entry.place.id
    return AuditRecord(
        id=entry_id,
        at_ms=int(entry_id.partition("-")[0]),
        who=fields["who"],
        command=fields["command"],
        target=fields["target"],
        count=int(fields["count"]) if fields["count"] else None,
        why=fields["why"],
        source=fields.get("from", CLI),  # older versions wrote neither
        team=fields.get("team") or None,
    )
