"""A topic's history: the events of its stream between two times.

Times are those of routing, which entry ids contain; a span ends at an existing entry, so that it does not grow while it
is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.event_filter import Candidate
from relay.store.driver.client import ask, ask_together
from relay.store.driver.streams import id_before, order_of
from relay.store.sharding.places import entry_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from relay.core.event_filter import EventFilter
    from relay.store.driver.client import Redis

_PAGE = 500

BEGINNING = "0-0"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a topic's stream."""

    after: str
    """The id after which it begins."""
    end: str
    """The id of its last entry; `after` if it has none."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The contents of a span."""

    span: Span
    events: int
    matching: int
    first_ms: int | None
    """Time of routing of the first event, Unix milliseconds."""
    last_ms: int | None


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of a topic's history."""

    oldest_ms: int | None
    """Time of routing of the oldest kept event, Unix milliseconds; None if there is none. Of several shards, the time
    since which all of them keep their events.
    """
    is_whole: bool
    """True if no event was ever removed."""

    def reaches(self, ms: float | None) -> bool:
        """Return True if all events routed since `ms` (Unix milliseconds; None: ever) are kept."""
        return self.is_whole or (ms is not None and self.oldest_ms is not None and ms >= self.oldest_ms)


class History:
    """The history of a topic, on one shard."""

    def __init__(self, redis: Redis, topic: str) -> None:
        self._redis = redis
        self._stream = redis.key.topic(topic)

    async def extent(self) -> Extent:
        """Return the extent of the history."""

        def queue(pipe: Pipeline) -> None:
            pipe.exists(self._stream)
            pipe.xrange(self._stream, count=1)

        exists, first = await ask_together(self._redis, queue)
        if not exists:
            return Extent(None, is_whole=True)
        info = await self._redis.xinfo_stream(self._stream)
        return Extent(ms_of(first[0][0].decode()) if first else None, info["entries-added"] == info["length"])

    async def span(self, since_ms: float | None, until_ms: float | None) -> Span:
        """Return the span between two times, excluding the second; by default from the beginning until now."""
        after = BEGINNING if since_ms is None else id_at(since_ms)
        before = "+" if until_ms is None else f"({round(until_ms)}-0"
        last = await self._redis.xrevrange(self._stream, before, f"({after}", count=1)
        return Span(after, last[0][0].decode() if last else after)

    async def survey(self, span: Span, event_filter: EventFilter) -> Survey:
        """Count the events of `span`; reads all of it."""
        events = matching = 0
        first: str | None = None
        after = span.after
        while rows := await self.read(after, span.end, _PAGE):
            events += len(rows)
            matching += sum(entry_matches(event_filter, fields) for _, fields in rows)
            first, after = first or rows[0][0], rows[-1][0]
        return Survey(span, events, matching, ms_of(first) if first else None, ms_of(after) if first else None)

    async def read(self, after: str, end: str, count: int) -> list[tuple[str, dict[bytes, bytes]]]:
        """Read at most `count` entries after the id `after`, up to and including `end`, oldest first."""
        rows = await ask(self._redis.xrange(self._stream, f"({after}", end, count=count))
        return [(entry.decode(), fields) for entry, fields in rows]


def whole_extent(parts: Sequence[Extent]) -> Extent:
    """Return the extent of a topic, by those of its histories on the shards."""
    cut = [part.oldest_ms for part in parts if not part.is_whole]
    if not cut:
        return Extent(oldest_of(parts), is_whole=True)
    known = [oldest for oldest in cut if oldest is not None]
    return Extent(max(known) if len(known) == len(cut) else None, is_whole=False)


def oldest_of(parts: Sequence[Extent]) -> int | None:
    """Return the time of routing of the oldest event that any shard keeps, Unix milliseconds; None if there is none."""
    return min((part.oldest_ms for part in parts if part.oldest_ms is not None), default=None)


def whole_survey(parts: Sequence[Survey]) -> Survey:
    """Return the contents of spans on the shards as one; its span is from the first beginning to the last end."""
    if len(parts) == 1:
        return parts[0]
    shard, last = max(enumerate(part.span.end for part in parts), key=lambda end: (order_of(end[1]), end[0]))
    return Survey(
        span=Span(min((part.span.after for part in parts), key=order_of), entry_name(last, shard)),
        events=sum(part.events for part in parts),
        matching=sum(part.matching for part in parts),
        first_ms=min((part.first_ms for part in parts if part.first_ms is not None), default=None),
        last_ms=max((part.last_ms for part in parts if part.last_ms is not None), default=None),
    )


def entry_matches(event_filter: EventFilter, fields: Mapping[bytes, bytes]) -> bool:
    """Return True if a topic's entry with these fields matches a filter by type and line."""
    if event_filter.is_any:
        return True
    kind, line = (fields.get(name, b"").decode(errors="replace") for name in (b"type", b"line"))
    return event_filter.matches(Candidate(event_type=kind, line=line))


def ms_of(entry: str) -> int:
    """Return when an entry was added, Unix milliseconds."""
    return int(entry.partition("-")[0])


def id_at(ms: float) -> str:
    """Return the id before all entries that were added at `ms` (Unix milliseconds) or later."""
    return id_before(f"{max(round(ms), 0)}-0")
