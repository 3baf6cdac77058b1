"""The log of attempts: search, newest first, and removal by age.

Attempts are written in the step that settles a delivery (`lanes.settler`), which also keeps them within their number.
A record that this release cannot read is left out of a search.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.core.delivery.outcome import Outcome
from relay.core.patterns import matches
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.lanes.attempt_record import AttemptRecord, UnreadableAttempt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Iterable, Iterator, Mapping, Sequence

    from redis.asyncio import Redis

    Row = tuple[bytes, Mapping[bytes, bytes], AttemptRecord]

_PAGE = 500
_SKEW_MS = 60_000
"""Tolerated lead of our clock over Redis's, which orders the attempts."""


@dataclass(frozen=True, slots=True)
class FoundAttempt:
    """One attempt of a subscription."""

    subscription: str
    attempt: AttemptRecord
    counted: bool
    """False if the verdict came too late: another worker had the lane, or the delivery was settled already."""
    detail: str
    """The error, or the start of the response; empty for a success, and if it was trimmed."""


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    """Conditions on attempts; one that is None matches every attempt."""

    event_ids: Container[str] | None = None
    event_type: str | None = None
    """A pattern."""
    line: str | None = None
    chat: str | None = None
    message: str | None = None
    trace: str | None = None
    outcomes: Container[Outcome] | None = None
    since_ms: float | None = None
    """Earliest start, Unix milliseconds."""
    until_ms: float | None = None

    def matches(self, attempt: AttemptRecord) -> bool:
        """Return True if `attempt` meets every condition."""
        return (
            (self.event_ids is None or attempt.event_id in self.event_ids)
            and (self.outcomes is None or attempt.outcome in self.outcomes)
            and (self.since_ms is None or attempt.at_ms >= self.since_ms)
            and (self.until_ms is None or attempt.at_ms < self.until_ms)
            and self.line in {None, attempt.line}
            and self.chat in {None, attempt.chat}
            and self.message in {None, attempt.message}
            and self.trace in {None, attempt.trace}
            and (self.event_type is None or matches(self.event_type, attempt.type))
        )


async def attempts_of(redis: Redis, subscription: str, sought: AttemptFilter) -> AsyncGenerator[FoundAttempt, None]:
    """Yield the matching attempts of one subscription, the one that ended last first."""
    stream, end = keys.lane(subscription, "attempts"), "+"
    start = "-" if sought.since_ms is None else str(max(int(sought.since_ms) - _SKEW_MS, 0))
    while rows := await redis.xrevrange(stream, end, start, count=_PAGE):
        matching = [row for row in _decoded(rows) if sought.matches(row[2])]
        details = await _details(redis, subscription, matching)
        for entry, fields, attempt in matching:
            yield FoundAttempt(subscription, attempt, counted=b"moot" not in fields, detail=details.get(entry, ""))
        end = f"({rows[-1][0].decode()}"


async def trim_attempts(redis: Redis, subscription: str, keep: float, now_ms: int) -> int:
    """Delete attempts older than `keep` seconds; return their number."""
    oldest = max(now_ms - round(keep * 1000), 0)
    await redis.xtrim(keys.lane(subscription, "answers"), minid=oldest, approximate=False)
    return int(await ask(redis.xtrim(keys.lane(subscription, "attempts"), minid=oldest, approximate=False)))


def _decoded(rows: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterator[Row]:
    """Yield the attempts that this release can read; another release may have written the others."""
    for entry, fields in rows:
        with suppress(UnreadableAttempt):
            yield entry, fields, AttemptRecord.decode(fields.get(b"a", b""))


async def _details(redis: Redis, subscription: str, rows: Sequence[Row]) -> dict[bytes, str]:
    """Return the error or response body of each failed attempt in `rows`, by entry."""
    failed = [entry for entry, _, attempt in rows if attempt.outcome is not Outcome.DELIVERED]
    if not failed:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for entry in failed:
            pipe.xrange(keys.lane(subscription, "answers"), entry, entry)
        answers: list[Any] = await pipe.execute()
    return {row[0]: row[1][b"a"].decode(errors="ignore") for found in answers for row in found}
