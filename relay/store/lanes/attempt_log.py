"""The attempts that are remembered: searched, newest first, and forgotten when they are old.

They are written in the step that settles a delivery (`store.settler`), which also keeps them within their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.core.delivery.outcome import Outcome
from relay.core.event_filter import Candidate
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.lanes.attempt_record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from redis.asyncio import Redis

    from relay.core.event_filter import EventFilter

_PAGE = 500
_SKEW_MS = 60_000
"""How far our clock may be before Redis's, by which attempts are in order."""


@dataclass(frozen=True, slots=True)
class FoundAttempt:
    """One attempt of a subscription."""

    subscription: str
    attempt: AttemptRecord
    counted: bool
    """False where the verdict came too late: another worker had taken the lane, or the delivery was settled already."""
    detail: str
    """The error, or the beginning of the answer; empty for a success, and where it is forgotten."""


async def attempts_of(redis: Redis, subscription: str, sought: EventFilter) -> AsyncGenerator[FoundAttempt, None]:
    """The attempts of one subscription that are meant, the one that ended last first."""
    stream, end = keys.lane(subscription, "attempts"), "+"
    start = "-" if sought.since_ms is None else str(max(int(sought.since_ms) - _SKEW_MS, 0))
    while rows := await redis.xrevrange(stream, end, start, count=_PAGE):
        decoded = [(entry, fields, AttemptRecord.decode(fields[b"a"])) for entry, fields in rows]
        meant = [row for row in decoded if sought.matches(_candidate(row[2]))]
        details = await _details(redis, subscription, meant)
        for entry, fields, attempt in meant:
            yield FoundAttempt(subscription, attempt, counted=b"moot" not in fields, detail=details.get(entry, ""))
        end = f"({rows[-1][0].decode()}"


def _candidate(attempt: AttemptRecord) -> Candidate:
    return Candidate(
        attempt.event_id,
        attempt.type,
        attempt.line,
        attempt.chat,
        attempt.message,
        attempt.trace,
        outcome=attempt.outcome,
        at_ms=attempt.at_ms,
    )


async def trim_attempts(redis: Redis, subscription: str, keep: float, now_ms: int) -> int:
    """Forgets attempts that are older than `keep` seconds; how many they were."""
    oldest = max(now_ms - round(keep * 1000), 0)
    await redis.xtrim(keys.lane(subscription, "answers"), minid=oldest, approximate=False)
    return int(await ask(redis.xtrim(keys.lane(subscription, "attempts"), minid=oldest, approximate=False)))


async def _details(
    redis: Redis, subscription: str, rows: Sequence[tuple[bytes, Mapping[bytes, bytes], AttemptRecord]]
) -> dict[bytes, str]:
    """The words of those in `rows` that failed, by entry."""
    failed = [entry for entry, _, attempt in rows if attempt.outcome is not Outcome.DELIVERED]
    if not failed:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for entry in failed:
            pipe.xrange(keys.lane(subscription, "answers"), entry, entry)
        answers: list[Any] = await pipe.execute()
    return {row[0]: row[1][b"a"].decode(errors="ignore") for found in answers for row in found}
