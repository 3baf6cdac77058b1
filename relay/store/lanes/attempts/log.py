"""The log of attempts: search, newest first, and removal by age.

Attempts are written in the step that settles a delivery (`lanes.settler`), which also limits their number. A
search skips records that this release cannot read.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.delivery.outcome import Outcome
from relay.core.event_filter import Candidate
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import SKEW_MS, pages
from relay.store.isolation import Isolation, is_wrong_type
from relay.store.lanes.attempts.record import AttemptRecord, UnreadableAttempt
from relay.store.sharding.places import entry_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence

    from relay.core.event_filter import EventFilter
    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Place

    Row = tuple[bytes, Mapping[bytes, bytes], AttemptRecord]

_PAGE = 500
_LATEST = 100
_MOOT = b"moot"
_LANES = 100  # in one pipeline
_set_fields = Script("relay.store.lanes", "set_fields")


@dataclass(frozen=True, slots=True)
class FoundAttempt:
    """An attempt of a subscription, as a search finds it."""

    subscription: str
    attempt: AttemptRecord
    counted: bool
    """False if the verdict came too late: another worker had the lease, or the delivery was already settled."""
    detail: str
    """The error, or the start of the response; empty if it was trimmed, and for a success that is not compared."""

    def on(self, shard: int) -> FoundAttempt:
        """Return it with the name of its delivery's entry on a shard, for people and programs."""
        if shard == 0:
            return self
        return replace(self, attempt=self.attempt._replace(entry=entry_name(self.attempt.entry, shard)))


async def attempts_of(
    redis: Redis, subscription: str, event_filter: EventFilter, *, with_answers: bool = False
) -> AsyncGenerator[FoundAttempt, None]:
    """Yield the matching attempts of one subscription, the latest end first; none if its log was overwritten.

    With `with_answers`, successes have the answer that is kept for a comparison.
    """
    stream, end = redis.key.lane(subscription, "attempts"), "+"
    start = "-" if event_filter.since_ms is None else str(max(int(event_filter.since_ms) - SKEW_MS, 0))
    isolation, types = Isolation(redis), redis.key.lane_types(subscription)
    while True:
        reading = redis.xrevrange(stream, end, start, count=_PAGE)
        if not (rows := await isolation.contain("lane", subscription, reading, types)):
            return
        matching = [row for row in _decoded(rows) if event_filter.matches(_candidate(row[2]))]
        answered = [row for row in matching if with_answers or row[2].outcome is not Outcome.DELIVERED]
        details = await isolation.contain("lane", subscription, _details(redis, subscription, answered), types) or {}
        for entry, fields, attempt in matching:
            yield FoundAttempt(subscription, attempt, counted=_MOOT not in fields, detail=details.get(entry, ""))
        end = f"({rows[-1][0].decode()}"


def attempt_in(subscription: str, fields: Mapping[bytes, bytes], which: EventFilter) -> FoundAttempt | None:
    """Return the attempt of an entry of the log, still without its detail; None if it does not match."""
    try:
        attempt = AttemptRecord.decode(fields.get(b"a", b""))
    except UnreadableAttempt:
        return None
    if not which.matches(_candidate(attempt)):
        return None
    return FoundAttempt(subscription, attempt, counted=_MOOT not in fields, detail="")


async def details_of(redis: Redis, places: Sequence[Place]) -> list[str]:
    """Return the error or the response body of each attempt, by its subscription and entry; empty for a success."""
    async with redis.pipeline(transaction=False) as pipe:
        for entry, subscription in places:
            pipe.xrange(redis.key.lane(subscription, "answers"), entry, entry)
        replies: list[Any] = await pipe.execute(raise_on_error=False) if places else []
    return [
        rows[0][1].get(b"a", b"").decode(errors="ignore") if rows and not isinstance(rows, Exception) else ""
        for rows in replies
    ]


class Health(NamedTuple):
    """The latest results of a subscription."""

    last_success_ms: int | None
    """Time of the last successful attempt, Unix milliseconds; None if there was none."""
    failures: Sequence[AttemptRecord]
    """The attempts since then, newest first, at most a hundred."""


async def save_last_successes(redis: Redis, at_ms: Mapping[str, int]) -> None:
    """Store the times of the last successes, Unix milliseconds; the logs of attempts may not reach back to them.

    A lane whose key is of a wrong type keeps what it has: its own operations report that.
    """
    replies = await _set_fields.each(
        redis, [([redis.key.lane(name)], ["last_success", last]) for name, last in at_ms.items()]
    )
    for reply in replies:
        if isinstance(reply, Exception) and not is_wrong_type(reply):
            raise reply


class Condition(NamedTuple):
    """The latest results of a subscription, and what they hold up."""

    health: Health
    blocked_chats: int
    """The number of chats of an ordered lane that wait until an operator replays or drops a dead letter."""


async def health_of(redis: Redis, subscription: str) -> Health:
    """Return the last success of a subscription, and the failures since."""
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hget(redis.key.lane(subscription), "last_success")
        pipe.xrevrange(redis.key.lane(subscription, "attempts"), count=_LATEST)
        stored, rows = await pipe.execute()
    return health_in(stored, rows)


async def conditions_of(redis: Redis, subscriptions: Sequence[str]) -> dict[str, Condition | None]:
    """Return the condition of each subscription; None where a key is of a wrong type."""
    found: dict[str, Condition | None] = {}
    for names in pages(subscriptions, _LANES):
        async with redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hget(redis.key.lane(name), "last_success")
                pipe.xrevrange(redis.key.lane(name, "attempts"), count=_LATEST)
                pipe.hlen(redis.key.lane(name, "blocked"))
                pipe.hlen(redis.key.lane(name, "tries"))  # only for its type, as the next
                pipe.xlen(redis.key.lane(name, "answers"))
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        for name, row in zip(names, zip(*(iter(replies),) * 5, strict=True), strict=True):
            errors = [reply for reply in row if isinstance(reply, Exception)]
            for error in errors:
                if not is_wrong_type(error):
                    raise error
            found[name] = None if errors else Condition(health_in(row[0], row[1]), row[2])
    return found


def whole_condition(parts: Sequence[Condition]) -> Condition:
    """Return the condition of a subscription, from those of its lanes on each shard."""
    last = max((each.health.last_success_ms or 0 for each in parts), default=0)
    failures = [each for part in parts for each in part.health.failures if each.at_ms + each.took_ms > last]
    failures.sort(key=lambda attempt: attempt.at_ms, reverse=True)
    return Condition(Health(last or None, failures), sum(part.blocked_chats for part in parts))


def health_in(stored: bytes | None, rows: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Health:
    """Return the health by the stored time of the last success, and the latest entries of the log, newest first."""
    latest = [attempt for _, _, attempt in _decoded(rows)]
    failures = tuple(takewhile(lambda attempt: attempt.outcome is not Outcome.DELIVERED, latest))
    successes = [attempt.at_ms + attempt.took_ms for attempt in latest if attempt.outcome is Outcome.DELIVERED]
    if stored and stored.isdigit():
        successes.append(int(stored))
    return Health(max(successes, default=None), failures)


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
    """Delete attempts older than `keep` seconds; return their number."""
    oldest = max(now_ms - round(keep * 1000), 0)
    await redis.xtrim(redis.key.lane(subscription, "answers"), minid=oldest, approximate=False)
    return int(await ask(redis.xtrim(redis.key.lane(subscription, "attempts"), minid=oldest, approximate=False)))


def _decoded(rows: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterator[Row]:
    """Yield the attempts that this release can read; another release may have written the others."""
    for entry, fields in rows:
        with suppress(UnreadableAttempt):
            yield entry, fields, AttemptRecord.decode(fields.get(b"a", b""))


async def _details(redis: Redis, subscription: str, rows: Sequence[Row]) -> dict[bytes, str]:
    """Return the error or response body of each attempt in `rows` that has one, by entry."""
    if not rows:
        return {}
    async with redis.pipeline(transaction=False) as pipe:
        for entry, _, _ in rows:
            pipe.xrange(redis.key.lane(subscription, "answers"), entry, entry)
        answers: list[Any] = await pipe.execute()
    return {row[0]: row[1][b"a"].decode(errors="ignore") for found in answers for row in found}
