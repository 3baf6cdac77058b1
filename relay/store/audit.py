"""The audit stream: what operators and teams changed, who, from where, when and why.

A record is appended before the change is made, and a change that cannot be recorded is not made; so a record says what
was ordered, and its count what was chosen at that moment. Records are only ever appended; the oldest make room for new
ones. Dropping things frees memory, so a record is also written when Redis has reached `maxmemory`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.principal import CLI
from relay.core.errors import StoreError
from relay.core.event_filter import Candidate, EventFilter
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from relay.store.driver.client import Redis

MAX_RECORDS = 10_000
"""Number of records that are kept, about 2 MB; Redis may keep a few more, to trim whole nodes."""

_MAX_TEXT = 1000  # characters of a reason or a target
_PAGE = 500

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
    arguments = [MAX_RECORDS, *(part for field in fields.items() for part in field)]
    try:
        await _append(redis, [redis.key.audit], arguments)
    except REDIS_ERRORS as error:
        raise StoreError(
            f"nothing was changed, because it could not be recorded in {redis.key.audit}: {describe(error)}"
        ) from error


async def records(redis: Redis, which: EventFilter = _ANY) -> AsyncGenerator[AuditRecord]:
    """Yield the records that match, newest first."""
    end = "+"
    while rows := await redis.xrevrange(redis.key.audit, end, "-", count=_PAGE):
        for entry, fields in rows:
            found = record_of(entry, fields)
            if which.since_ms is not None and found.at_ms < which.since_ms:
                return
            if which.matches(found.as_candidate()):
                yield found
        end = f"({rows[-1][0].decode()}"


def record_of(entry: bytes, row: Mapping[bytes, bytes]) -> AuditRecord:
    """Return the record in an entry of the stream."""
    fields = {name.decode(): text.decode() for name, text in row.items()}
    return AuditRecord(
        id=entry.decode(),
        at_ms=int(entry.partition(b"-")[0]),
        who=fields["who"],
        command=fields["command"],
        target=fields["target"],
        count=int(fields["count"]) if fields["count"] else None,
        why=fields["why"],
        source=fields.get("from", CLI),  # older versions wrote neither
        team=fields.get("team") or None,
    )
