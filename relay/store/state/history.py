"""The last hour by the minute: counters of the whole relay and its topics, and of each subscription.

A sweep writes an entry a minute from the counters that are kept anyway, so that an event costs nothing more. Charts
show the hour of the whole relay and of topics; of subscriptions only a few minutes are kept, for their present rate.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json
from redis.exceptions import ResponseError

from relay.store.driver.client import ask, ask_together, numbers_in
from relay.store.ledger.whole import of_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.store.driver.client import Redis
    from relay.store.ledger.kept import KeptStates

MINUTE_MS = 60_000
_KEPT = 65
"""Minutes of the whole relay and its topics: an hour, and the one before it, which differences need."""
_KEPT_OF_LANES = 10
_COUNT_TIMEOUT = 1.0  # seconds for counting what waits, where Redis's own number is not exact
_COUNTERS = ("accepted", "duplicate", "quarantined", "routed", "unmatched")
_TOPIC = "topic:"


@dataclass(frozen=True, slots=True)
class Minute:
    """The counters at the start of a minute."""

    at_ms: int
    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    routed: int = 0
    unmatched: int = 0
    refused: int = 0
    delivered: int = 0
    waiting: int = 0
    retrying: int = 0
    dead: int = 0
    topics: Mapping[str, int] = field(default_factory=dict)
    """The number of events ever routed to each topic."""


@dataclass(frozen=True, slots=True)
class LaneMinute:
    """The number of events that were ever delivered to each subscription, at the start of a minute."""

    at_ms: int
    delivered: Mapping[str, int]


async def record_minute(redis: Redis, now_ms: int, lanes: KeptStates) -> bool:
    """Add the counters to the history unless this minute has an entry; return True if they were added.

    `lanes` are those of `redis`.
    """
    minute_ms = now_ms // MINUTE_MS * MINUTE_MS
    last: Any = await ask(redis.xrevrange(redis.key.history, count=1))
    if last and int(last[0][0].split(b"-")[0]) >= minute_ms:
        return False
    reading = await lanes.read(_COUNT_TIMEOUT)
    ledgers, delivered = [state.ledger for state in reading.states], reading.delivered
    fields = await _counters(redis) | {"delivered": sum(delivered.values())}
    for name in ("waiting", "retrying", "dead"):
        fields[name] = sum(getattr(ledger, name) for ledger in ledgers)
    return await _add(redis, minute_ms, fields, delivered)


async def _add(redis: Redis, minute_ms: int, fields: Mapping[str, int], delivered: Mapping[str, int]) -> bool:
    written: Any = dict(fields)
    with suppress(ResponseError):  # the id is not above the last one: another worker was first
        await redis.xadd(redis.key.history, written, id=f"{minute_ms}-1", maxlen=_KEPT, approximate=False)
        rows: Any = {"delivered": to_json(delivered)}
        await redis.xadd(redis.key.history_lanes, rows, id=f"{minute_ms}-1", maxlen=_KEPT_OF_LANES, approximate=False)
        return True
    return False


async def last_hour(redis: Redis, now_ms: int) -> tuple[list[Minute], list[LaneMinute]]:
    """Return the minutes of the last hour, oldest first, and of subscriptions the first and last that are kept."""
    since = now_ms - _KEPT * MINUTE_MS

    def queue(pipe: Pipeline) -> None:
        pipe.xrange(redis.key.history, min=str(since))
        pipe.xrange(redis.key.history_lanes, min=str(now_ms - _KEPT_OF_LANES * MINUTE_MS), count=1)
        pipe.xrevrange(redis.key.history_lanes, min=str(now_ms - _KEPT_OF_LANES * MINUTE_MS), count=1)

    minutes, first, last = await ask_together(redis, queue)
    lanes = [LaneMinute(_time(entry), from_json(row[b"delivered"])) for entry, row in (*first, *last)]
    return [_minute(entry, row) for entry, row in minutes], lanes


async def _counters(redis: Redis) -> dict[str, int]:
    """Return the counters of the relay as a whole."""
    total: Counter[str] = Counter()
    for part in await of_each(redis, _counters_of_shard):
        total.update(part)
    return dict(total)


async def _counters_of_shard(redis: Redis) -> dict[str, int]:
    def queue(pipe: Pipeline) -> None:
        pipe.hgetall(redis.key.counts)
        pipe.hgetall(redis.key.refused)

    counts, refused = (numbers_in(rows) for rows in await ask_together(redis, queue))
    prefix = f"routed:{redis.key.topic_prefix}"
    topics = {_TOPIC + name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
    return {name: counts.get(name, 0) for name in _COUNTERS} | {"refused": sum(refused.values())} | topics


def _minute(entry: bytes, row: Mapping[bytes, bytes]) -> Minute:
    numbers = numbers_in(row)
    topics = {name.removeprefix(_TOPIC): count for name, count in numbers.items() if name.startswith(_TOPIC)}
    whole = {name: count for name, count in numbers.items() if name in Minute.__dataclass_fields__}
    return Minute(at_ms=_time(entry), topics=topics, **whole)


def _time(entry: bytes) -> int:
    return int(entry.split(b"-")[0])


def increases(values: Sequence[tuple[int, int]]) -> list[tuple[int, float]]:
    """Return the increase a second up to each time but the first, of a counter's values by time (ms)."""
    pairs = pairwise(values)
    return [(at, max(value - former, 0) * 1000 / (at - before)) for (before, former), (at, value) in pairs]
