"""An event by its id: where it is held, found in bounded time.

* The claim on the id (`inbox.claims`) lives for RELAY_DEDUPE_WINDOW on the event's shard, and tells by its remaining
  life when the event was accepted: the topics are read there from that moment on.
* Without it, or if it misleads (the window was changed), the topics are read backwards, newest first, for a bounded
  time; the caller continues with a cursor.
* The entries of an event in its topics are made in one step, so the others are at the same moment.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import NoPermissionError, ResponseError

from relay.core.errors import NotFound
from relay.services.dedupe_window import dedupe_window
from relay.services.topics.history.scan import ScanTarget, scan
from relay.services.topics.history.search import cursor_of, period_after
from relay.services.topics.history.view import Place
from relay.store.inbox.claims import Repeats, repeats_in
from relay.store.isolation import is_wrong_type
from relay.store.topics.stream_search import Condition, Kind, step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relay.services.context import Context
    from relay.services.topics.history.scan import Budget, Progress
    from relay.store.driver.client import Redis
    from relay.store.topics.stream_search import Found

_BEFORE_MS = 50  # of the hint
_AFTER_MS = (500, 10_000)  # of the hint: routing mostly follows within milliseconds
_STEPS = 100  # pages that the hint is worth, in each topic
_APART_MS = 5  # Redis 7.0 gives the entries of one step the times at which it makes them
_AT_ONCE = 8  # topics that are read at the same time


class NotFoundYet(NotFound):
    """The event, or the message, is not in what was searched so far; `cursor` continues the search."""

    def __init__(self, event_id: str, cursor: str, searched_to_ms: int, noun: str = "event") -> None:
        self.cursor = cursor
        self.searched_to_ms = searched_to_ms
        super().__init__(f'no {noun} "{event_id}" so far: there was no time to search everything; continue the search')


@dataclass(frozen=True, slots=True)
class Claim:
    """The knowledge about an event that its claim holds."""

    accepted_ms: int
    """Time of acceptance, Unix milliseconds of Redis's clock."""
    repeats: Repeats | None
    """None if there was none."""
    shard: int = 0
    """The number of the shard that has it, and with it the event."""


@dataclass(frozen=True, slots=True)
class Held:
    """The entries of an event."""

    fields: Mapping[bytes, bytes]
    places: tuple[Place, ...]


class _Entry(NamedTuple):
    """An entry of an event that was found."""

    place: Place
    fields: Mapping[bytes, bytes]


async def claim_on(context: Context, event_id: str) -> Claim | None:
    """Return what the claim on an event's id tells; None if it has expired, or may not be read.

    If there is one on several shards, since other events have the same id, it is the oldest.
    """
    shards, window = range(len(context.redis.shards)), await dedupe_window(context)
    claims = await asyncio.gather(*(_claim_on(context, shard, event_id, window.ms) for shard in shards))
    return min((claim for claim in claims if claim is not None), key=lambda claim: claim.accepted_ms, default=None)


async def _claim_on(context: Context, shard: int, event_id: str, window_ms: int) -> Claim | None:
    redis = context.redis.shards[shard]
    key = redis.key.seen_prefix + event_id
    try:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.pttl(key)
            pipe.get(key)
            (seconds, microseconds), left, claims = await pipe.execute()
    except NoPermissionError:
        return None
    except ResponseError as error:
        if is_wrong_type(error):
            return None
        raise
    if claims is None or left < 0:
        return None
    now_ms = seconds * 1000 + microseconds // 1000
    return Claim(now_ms - max(window_ms - left, 0), repeats_in(claims), shard)


async def find(  # noqa: PLR0913, PLR0917  the bounds of the search
    context: Context,
    topics: Sequence[str],
    event_id: str,
    claim: Claim | None,
    cursor: str | None,
    budget: Budget,
    progress: Callable[[Progress], None] | None = None,
) -> Held | None:
    """Return the entries of an event in `topics`; None if they do not hold it.

    Raises:
        NotFoundYet: there was no time to search all of them.
        Invalid: it is no cursor.
    """
    period = period_after(cursor, None, None)
    condition = Condition("id", Kind.IS, event_id)
    found: list[_Entry] = []
    if claim is not None and cursor is None:
        since, redis = claim.accepted_ms - _BEFORE_MS, context.redis
        for after_ms in _AFTER_MS:
            until = claim.accepted_ms + after_ms
            found = found or await _between(redis, claim.shard, topics, condition, since, until)
    if not found:
        scanned = await scan(context.redis, topics, ScanTarget((condition,), 1), period, budget, progress)
        if not scanned.hits:
            rest = cursor_of(scanned.rest)
            if rest is not None and scanned.reached_ms is not None:
                raise NotFoundYet(event_id, rest, scanned.reached_ms)
            return None
        [hit] = scanned.hits
        found = [_Entry(place, hit.fields) for place in hit.places]
    return await _with_others(context.redis, topics, condition, found)


async def _with_others(redis: Redis, topics: Sequence[str], condition: Condition, found: Sequence[_Entry]) -> Held:
    """Return the entries of the event, with those in topics of its shard where it was not found yet."""
    places = [entry.place for entry in found]
    first, known = places[0], {place.topic for place in places}
    others = [topic for topic in topics if topic not in known]
    since, until = first.at_ms - _APART_MS, first.at_ms + _APART_MS
    places += [entry.place for entry in await _between(redis, first.shard, others, condition, since, until)]
    return Held(found[0].fields, tuple(sorted(places, key=lambda place: topics.index(place.topic))))


async def _between(
    home: Redis, shard: int, topics: Sequence[str], condition: Condition, since_ms: int, until_ms: int
) -> list[_Entry]:
    """Return the first entry of each topic on a shard that meets a condition, of those routed between two times."""
    slots, redis = asyncio.Semaphore(_AT_ONCE), home.shards[shard]

    async def in_topic(topic: str) -> Found | None:
        start, end = f"{max(since_ms, 0)}-0", str(max(until_ms, 0))
        async with slots:
            for _ in range(_STEPS):
                try:
                    read = await step(redis, redis.key.topic(topic), start, end, (condition,), backwards=False, most=1)
                except ResponseError as error:
                    if is_wrong_type(error):
                        return None
                    raise
                if read.found or read.is_end:
                    return read.found[0] if read.found else None
                start = f"({read.last}"
        return None

    results: list[Any] = await asyncio.gather(*map(in_topic, topics))
    found = ((topic, entry) for topic, entry in zip(topics, results, strict=True) if entry is not None)
    return [_Entry(Place.on(shard, topic, entry.entry), entry.fields) for topic, entry in found]
