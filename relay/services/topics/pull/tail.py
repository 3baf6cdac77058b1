"""Tails: the events of a topic as they come, for people who watch and for `relay listen`; no group keeps their place.

All tails of a process share a rate, so that however many are open, and however far back they begin, the path of events
keeps its speed. A tail that is behind continues where it was: the topic holds what it has not read yet.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.event_filter import Candidate, EventFilter
from relay.services.access import check_topic
from relay.services.topics import following
from relay.services.topics.following import position_of, sources_after, sources_at_end, sources_since, take
from relay.store.sharding.places import entry_name
from relay.store.topics.history import id_at
from relay.store.topics.record import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.topics.following import Source
    from relay.store.topics.pull.arrivals import Arrivals
    from relay.store.topics.record import Record

_RATE = 2000.0  # events a second that all tails of a process read together
_READS = 200.0  # reads a second, likewise
_POLL = 5.0  # seconds from one look to the next while nothing arrives


@dataclass(frozen=True, slots=True)
class Tail:
    """The part of a topic that a tail shows."""

    topic: str
    after: str | None = None
    """The position of a part, or the entry, after which it begins; None to begin at `since_ms`, or now."""
    since_ms: float | None = None
    """Unix milliseconds."""
    event_type: str | None = None
    """A pattern, as in a topic."""
    line: str | None = None
    handle: str | None = None
    """The customer's phone number or e-mail address."""


@dataclass(frozen=True, slots=True)
class Part:
    """The next part of a tail."""

    events: Sequence[Record]
    """The events that match."""
    position: str
    """The position after what was read so far (`following`); the tail continues from there."""
    positions: Sequence[str] = ()
    """The position after each of these events."""
    has_gap: bool = False
    """True if events before these were trimmed, and never seen."""


class Tails:
    """The tails of a process: one connection waits for all of them, and they share a rate."""

    def __init__(self, arrivals: Arrivals, rate: float = _RATE) -> None:
        """`rate` is events a second, of all tails together."""
        self.arrivals = arrivals
        self._rate = rate
        self._open = 0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Count a tail while the context is open."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def pause_after(self, events: int) -> float:
        """Return the seconds that a tail pauses after it has read `events`."""
        return self._open * max(events / self._rate, 1 / _READS)


async def tail(context: Context, tails: Tails, principal: Principal, wanted: Tail) -> AsyncIterator[Part]:
    """Return the parts of a topic as they come, without end; a part may have no events.

    Raises:
        Forbidden, NotFound, Invalid: of the principal, the topic or the entry.
    """
    principal.require(Scope.READ)
    await check_topic(context, principal, wanted.topic)
    asked = None if wanted.after is None else sources_after(context.redis, wanted.topic, wanted.after)
    return _follow(context, tails, wanted, asked)


async def _follow(context: Context, tails: Tails, wanted: Tail, asked: Sequence[Source] | None) -> AsyncIterator[Part]:
    mark = tails.arrivals.mark(wanted.topic)
    sources, has_gap = await _begin(context, wanted, asked)
    matches = _matcher(wanted)
    yield Part((), position_of(sources), has_gap=has_gap)
    with tails.opened():
        while True:
            count = await following.read(sources)
            if any(source.rows for source in sources):
                yield _next_part(sources, matches)
                await asyncio.sleep(tails.pause_after(count))
            if all(source.is_waiting for source in sources):
                await tails.arrivals.wait(wanted.topic, mark, _POLL)
                mark = tails.arrivals.mark(wanted.topic)


async def _begin(context: Context, wanted: Tail, asked: Sequence[Source] | None) -> tuple[Sequence[Source], bool]:
    """Return the sources of a tail where it begins, and whether events after that were trimmed."""
    if asked is not None and wanted.after is not None:
        return asked, await following.has_gap(asked, wanted.after)
    if wanted.since_ms is not None:
        return sources_since(context.redis, wanted.topic, id_at(wanted.since_ms)), False
    return await sources_at_end(context.redis, wanted.topic), False


def _next_part(sources: Sequence[Source], matches: Callable[[Record], bool]) -> Part:
    """Return what was read and is next."""
    events, positions = [], []
    for shard, entry, fields in take(sources):
        record = record_of(entry, fields)
        if shard:
            record = record._replace(entry=entry_name(record.entry, shard))
        if matches(record):
            events.append(record)
            positions.append(position_of(sources))
    return Part(events, position_of(sources), positions)


def _matcher(wanted: Tail) -> Callable[[Record], bool]:
    """Return the test of which events a tail shows."""
    event_filter = EventFilter(event_type=wanted.event_type, line=wanted.line)
    handle = f'"{wanted.handle}"'.lower().encode() if wanted.handle else None

    def matches(record: Record) -> bool:
        if not event_filter.matches(Candidate(event_type=record.type, line=record.line)):
            return False
        return handle is None or handle in record.body.lower()

    return matches
