"""The attempts logs of a shadow and its original, paired by event id.

An event is compared once both have a last attempt of it. The logs are bounded, so only the time that both reach back to
is compared: events before it are not missing. Replays and tests are left out, since only one side gets them.

An event has its attempts on its shard, so the logs of each shard are paired by themselves. A shard where one side has
no attempt at all is compared from the latest time on that the others are.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from relay.core.event_filter import EventFilter
from relay.store.lanes.attempts.log import attempts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.delivery.outcome import Outcome
    from relay.store.driver.client import Redis
    from relay.store.lanes.attempts.log import FoundAttempt
    from relay.store.lanes.attempts.record import AttemptRecord

_LAG_MS = 10_000
"""Time that one side may be behind: an event that only the other one has had for less than this is not missing."""
_YIELD = 2000  # attempts read before other tasks get their turn


class Side(NamedTuple):
    """The result of an event in one subscription."""

    outcome: Outcome
    status: int | None
    took_ms: int
    """Duration of the last attempt."""
    attempts: int
    dead: str | None
    """The reason why it is a dead letter; None if it is not."""
    answer: str | None
    """The start of the answer and its digest; None if none was kept."""
    at_ms: int
    """Start of the last attempt, Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An event that the two answered differently."""

    event: str
    type: str
    at_ms: int
    """Start of the original's last attempt, Unix milliseconds."""
    differs: tuple[str, ...]
    """`outcome`, `status` or `answer`."""
    original: Side
    shadow: Side


class Lacking(NamedTuple):
    """An event that one side has no attempt of."""

    shard: Redis
    attempt: AttemptRecord
    """The last one of the other side."""
    missing_in: str
    """The subscription that has none."""


@dataclass(slots=True)
class Compared:
    """The logs of two subscriptions, paired."""

    since_ms: int | None
    """The start of what is compared, Unix milliseconds; None if one side has nothing."""
    pairs: list[tuple[Side, Side]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    """The newest first."""
    open: int = 0
    """Events that one side still retries."""
    lacking: list[Lacking] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """The latest attempt of an event, and how many there were."""

    found: FoundAttempt
    attempts: int = 1


class _Log(NamedTuple):
    """The attempts log of one side on a shard."""

    events: Mapping[str, _Seen]
    oldest_ms: int | None
    """Start of its oldest attempt, Unix milliseconds."""


class _Logs(NamedTuple):
    """The logs of both sides on a shard."""

    shard: Redis
    first: _Log
    second: _Log

    @property
    def since_ms(self) -> int | None:
        """The time that both reach back to, Unix milliseconds; None if one has nothing."""
        starts = [log.oldest_ms for log in (self.first, self.second) if log.oldest_ms is not None]
        return max(starts) if len(starts) == len((self.first, self.second)) else None


async def compare(redis: Redis, names: tuple[str, str], since_ms: float | None, now_ms: int) -> Compared:
    """Compare the attempts of two subscriptions, at most since a time, Unix milliseconds."""
    first, second = names
    every = [
        _Logs(shard, await _read(shard, first, since_ms), await _read(shard, second, since_ms))
        for shard in redis.shards
    ]
    starts = [logs.since_ms for logs in every if logs.since_ms is not None]
    compared = Compared(min(starts, default=None))
    for logs in every:
        _pair(compared, logs)
        since = max(starts, default=None) if logs.since_ms is None else logs.since_ms
        for (log, other), missing_in in (((logs.first, logs.second), second), ((logs.second, logs.first), first)):
            compared.lacking += [
                Lacking(logs.shard, seen.found.attempt, missing_in)
                for event_id, seen in log.events.items()
                if event_id not in other.events and _is_due(seen, since, now_ms)
            ]
    compared.differences.sort(key=lambda each: -each.at_ms)
    return compared


async def _read(shard: Redis, name: str, since_ms: float | None) -> _Log:
    """Read the attempts of a subscription on a shard, without replays and tests."""
    events: dict[str, _Seen] = {}
    oldest: int | None = None
    number = 0
    async for found in attempts_of(shard, name, EventFilter(since_ms=since_ms), with_answers=True):
        number += 1
        if number % _YIELD == 0:
            await asyncio.sleep(0)
        attempt = found.attempt
        if not found.counted or attempt.is_replay:
            continue
        oldest = attempt.at_ms if oldest is None else min(oldest, attempt.at_ms)
        if attempt.event_id in events:
            events[attempt.event_id].attempts += 1
        else:
            events[attempt.event_id] = _Seen(found)
    return _Log(events, oldest)


def _pair(compared: Compared, logs: _Logs) -> None:
    """Add the events that both sides have."""
    for event_id, seen in logs.first.events.items():
        if (twin := logs.second.events.get(event_id)) is None:
            continue
        if _is_open(seen) or _is_open(twin):
            compared.open += 1
            continue
        pair = _side(seen), _side(twin)
        compared.pairs.append(pair)
        if differs := _differs(*pair):
            attempt = seen.found.attempt
            compared.differences.append(Difference(event_id, attempt.type, attempt.at_ms, differs, *pair))


def _is_due(seen: _Seen, since_ms: int | None, now_ms: int) -> bool:
    """Return True if the other side should have the event too."""
    at_ms = seen.found.attempt.at_ms
    return since_ms is not None and since_ms <= at_ms <= now_ms - _LAG_MS


def _is_open(seen: _Seen) -> bool:
    return seen.found.attempt.due_ms is not None


def _side(seen: _Seen) -> Side:
    attempt = seen.found.attempt
    return Side(
        attempt.outcome,
        attempt.status,
        attempt.took_ms,
        seen.attempts,
        attempt.dead,
        seen.found.detail or None,
        attempt.at_ms,
    )


def has_answers(pair: tuple[Side, Side]) -> bool:
    """Return True if both answered, and what they answered was kept."""
    return all(side.answer is not None and side.status is not None for side in pair)


def _differs(first: Side, second: Side) -> tuple[str, ...]:
    found = {
        "outcome": first.outcome is not second.outcome,
        "status": first.status != second.status,
        "answer": has_answers((first, second)) and first.answer != second.answer,
    }
    return tuple(name for name, is_different in found.items() if is_different)
