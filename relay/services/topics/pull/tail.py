"""Tails: the events of a topic as they come, for people who watch and for `relay listen`; no group keeps their place.

All tails of a process share a rate, so that however many are open, and however far back they begin, the path of events
keeps its speed. A tail that is behind goes on where it was: the topic holds what it has not read yet.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Invalid, Problem
from relay.core.event_filter import Candidate, EventFilter
from relay.services.access import check_topic
from relay.store.driver.client import ask_together
from relay.store.driver.streams import order_of
from relay.store.topics.history import id_at
from relay.store.topics.record import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from redis.asyncio.client import Pipeline

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.store.topics.pull.arrivals import Arrivals
    from relay.store.topics.record import Record

_PAGE = 100
_RATE = 2000.0  # events a second that all tails of a process read together
_READS = 200.0  # reads a second, likewise
_POLL = 5.0  # seconds from one look to the next while nothing arrives
_ENTRY = re.compile(r"[0-9]{1,15}-[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Tail:
    """The part of a topic that a tail shows."""

    topic: str
    after: str | None = None
    """The entry after which it begins; None to begin at `since_ms`, or now."""
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
    """The last entry that was read; the tail goes on after it."""
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
    if wanted.after is not None and not _ENTRY.fullmatch(wanted.after):
        raise Invalid(Problem("after", f'"{wanted.after[:40]}" is not the id of an entry'))
    return _follow(context, tails, wanted)


async def _follow(context: Context, tails: Tails, wanted: Tail) -> AsyncIterator[Part]:
    redis, stream = context.redis, context.redis.key.topic(wanted.topic)
    mark = tails.arrivals.mark(wanted.topic)
    position, has_gap = await _begin(context, wanted)
    matches = _matcher(wanted)
    yield Part((), position, has_gap)
    with tails.opened():
        while True:
            rows = await redis.xrange(stream, f"({position}", "+", count=_PAGE)
            if rows:
                records = [record_of(entry, fields) for entry, fields in rows]
                position = records[-1].entry
                yield Part([record for record in records if matches(record)], position)
                await asyncio.sleep(tails.pause_after(len(rows)))
            if len(rows) < _PAGE:
                await tails.arrivals.wait(wanted.topic, mark, _POLL)
                mark = tails.arrivals.mark(wanted.topic)


async def _begin(context: Context, wanted: Tail) -> tuple[str, bool]:
    """Return the entry after which a tail begins, and whether events after it were trimmed."""
    redis, stream = context.redis, context.redis.key.topic(wanted.topic)
    if (after := wanted.after) is not None:

        def queue(pipe: Pipeline) -> None:
            pipe.xrange(stream, after, after)
            pipe.xrange(stream, count=1)

        itself, first = await ask_together(redis, queue)
        was_trimmed = not itself and after != "0-0" and bool(first)
        return after, was_trimmed and order_of(first[0][0].decode()) > order_of(after)
    if wanted.since_ms is not None:
        return id_at(wanted.since_ms), False
    last = await redis.xrevrange(stream, count=1)
    return (last[0][0].decode() if last else "0-0"), False


def _matcher(wanted: Tail) -> Callable[[Record], bool]:
    """Return the test of which events a tail shows."""
    event_filter = EventFilter(event_type=wanted.event_type, line=wanted.line)
    handle = f'"{wanted.handle}"'.lower().encode() if wanted.handle else None

    def matches(record: Record) -> bool:
        if not event_filter.matches(Candidate(event_type=record.type, line=record.line)):
            return False
        return handle is None or handle in record.body.lower()

    return matches
