"""A scan of topics, newest first: in bounded time, and to be continued where it ended.

The topics' streams, of all shards, are read side by side, always the one whose unread part is the newest, so that the
scan as a whole is complete down to one moment; that moment is where the next scan continues. With several shards, each
has a small share of what is newest: the first steps there read few entries, and of all shards at once.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from relay.services.topics.history.view import Place
from relay.store.driver.streams import order_of, pages
from relay.store.isolation import is_wrong_type
from relay.store.topics.stream_search import NEWEST, OLDEST, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from relay.store.driver.client import Redis
    from relay.store.topics.stream_search import Condition, Step

BEFORE_MS = 60_000
"""Time before the first event in which others of the same thing may have been routed: Linq promises no order."""
_UNPACED = 0.1  # seconds
_FEW = 8  # entries of a stream that are read first at least, with several shards
_TOPICS = 100  # asked for their newest entry in one round trip


class Budget:
    """The time that a request may take."""

    def __init__(self, seconds: float | None) -> None:
        """`seconds` is None without a limit."""
        self._until = None if seconds is None else time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """True if no more work should begin."""
        return self._until is not None and time.monotonic() >= self._until


class _Pace:
    """The pace of a scan: a long one leaves half of Redis's time to others."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @asynccontextmanager
    async def step(self) -> AsyncIterator[None]:
        """Pause after a step for as long as it took, unless the scan has only begun."""
        began = time.monotonic()
        yield
        now = time.monotonic()
        if now - self._began > _UNPACED:
            await asyncio.sleep(now - began)


class Progress(NamedTuple):
    """The progress of a scan."""

    reached_ms: int
    """Everything that was routed since then has been read, Unix milliseconds."""
    read: int
    """The number of entries read."""
    found: int


@dataclass(frozen=True, slots=True)
class Hit:
    """An event that a scan has found."""

    at_ms: int
    """Time of routing, Unix milliseconds."""
    fields: Mapping[bytes, bytes]
    places: tuple[Place, ...]
    """Its entry in each topic that has it."""


class Period(NamedTuple):
    """The period of a scan, by time of routing, Unix milliseconds."""

    since_ms: int | None
    before_ms: int | None
    skip: int = 0
    """The number of events of the last millisecond that are known already."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """The result of a scan."""

    hits: Sequence[Hit]
    """Newest first."""
    read: int
    reached_ms: int | None
    """Everything since then was read; None if all of the period was."""
    rest: Period | None
    """The period that is left; None if there is none."""


class _Row(NamedTuple):
    order: tuple[int, int, int]
    """Sort key, the newest first: the same in each scan, since the next one continues within a moment."""
    place: Place
    fields: Mapping[bytes, bytes]

    @property
    def at_ms(self) -> int:
        return -self.order[0]


class _Topic:
    """The stream of a topic on a shard in a scan: the entries before `start` are unread."""

    def __init__(self, name: str, shard: int, rank: int, newest: str, page: int | None) -> None:
        self.name = name
        self.shard = shard
        self.start = newest
        self.unread_ms = _ms_of(newest)
        """The latest moment with unread entries."""
        self.is_begun = False
        self._rank = rank
        self._page = page

    async def read(self, redis: Redis, end: str, conditions: Iterable[Condition]) -> Step:
        """Search the next entries, more of them each time up to a whole page."""
        shard, page = redis.shards[self.shard], self._page
        self._page = None if page is None else 4 * page
        self.is_begun = True
        stream = shard.key.topic(self.name)
        return await step(shard, stream, self.start, end, conditions, backwards=True, page=page)

    def advance(self, last: str) -> None:
        self.start, self.unread_ms = f"({last}", _ms_of(last)

    def row(self, entry: str, fields: Mapping[bytes, bytes]) -> _Row:
        milliseconds, sequence = order_of(entry)
        return _Row((-milliseconds, -sequence, self._rank), Place.on(self.shard, self.name, entry), fields)


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """The events that a scan looks for."""

    conditions: Sequence[Condition]
    limit: int
    accepts: Callable[[Mapping[bytes, bytes]], bool] = lambda _: True
    """Examines what meets the conditions."""
    is_first: Callable[[Mapping[bytes, bytes]], bool] = lambda _: False
    """Recognises an event before which there is none, so that the scan ends `BEFORE_MS` before it."""


async def scan(
    redis: Redis,
    topics: Sequence[str],
    wanted: ScanTarget,
    period: Period,
    budget: Budget,
    progress: Callable[[Progress], None] | None = None,
) -> Scanned:
    """Search topics, newest first, until enough is found or the time is over; at least one moment is read.

    `redis` is the client of the first shard.
    """
    end = OLDEST if period.since_ms is None else f"{max(period.since_ms, 0)}-0"
    unread = await _newest(redis, topics, period, end, wanted.limit + period.skip)
    latest = _latest(unread)
    before = latest + 1 if period.before_ms is None else period.before_ms
    rows: list[_Row] = []
    read, pace = 0, _Pace()
    while unread:
        has_moment = latest + 1 < before
        if has_moment and (budget.is_over or len(_merged(rows, latest)) >= wanted.limit + period.skip):
            break
        turn = _turn(unread, latest)
        async with pace.step():
            steps = await asyncio.gather(*(topic.read(redis, end, wanted.conditions) for topic in turn))
        for topic, found in zip(turn, steps, strict=True):
            accepted = [topic.row(entry, fields) for entry, fields in found.found if wanted.accepts(fields)]
            rows += accepted
            read += found.read
            if firsts := [row.at_ms for row in accepted if wanted.is_first(row.fields)]:
                period = period._replace(since_ms=max(period.since_ms or 0, min(firsts) - BEFORE_MS))
                end = f"{period.since_ms}-0"
            if found.is_end:
                unread.remove(topic)
            else:
                topic.advance(found.last)
        unread = [each for each in unread if each.unread_ms >= (period.since_ms or 0)]
        latest = _latest(unread)
        if progress is not None and unread:
            progress(Progress(latest + 1, read, len(rows)))
    return _result(_merged(rows, latest), latest, read, period, wanted.limit)


def _turn(unread: Sequence[_Topic], latest: int) -> list[_Topic]:
    """Return the streams of a step: the one with the newest unread part, and of each other shard one not begun yet."""
    first = next(topic for topic in unread if topic.unread_ms == latest)
    newest: dict[int, _Topic] = {}
    for topic in unread:
        if not topic.is_begun and topic.shard != first.shard:
            known = newest.setdefault(topic.shard, topic)
            if topic.unread_ms > known.unread_ms:
                newest[topic.shard] = topic
    return [first, *newest.values()]


def _latest(unread: Sequence[_Topic]) -> int:
    """Return the latest moment with unread entries; -1 if there is none."""
    return max((topic.unread_ms for topic in unread), default=-1)


def _result(hits: list[Hit], reached: int, read: int, period: Period, limit: int) -> Scanned:
    """Return the hits after those that are known, at most `limit`, and what is left."""
    first_ms = -1 if period.before_ms is None else period.before_ms - 1
    known = min(period.skip, sum(hit.at_ms == first_ms for hit in hits))
    shown = hits[known : known + limit]
    if len(hits) > known + limit:
        last = shown[-1].at_ms
        skip = sum(hit.at_ms == last for hit in hits[: known + limit])
        return Scanned(shown, read, last, Period(period.since_ms, last + 1, skip))
    if reached < 0:
        return Scanned(shown, read, None, None)
    return Scanned(shown, read, reached + 1, Period(period.since_ms, reached + 1))


def _merged(rows: Sequence[_Row], after_ms: int) -> list[Hit]:
    """Return the events in entries that were added after a moment, newest first; one that several topics have once."""
    found: dict[tuple[bytes, bytes], list[_Row]] = {}
    for row in sorted(rows, key=lambda row: row.order):
        if row.at_ms > after_ms:
            found.setdefault((row.fields.get(b"id", b""), row.fields.get(b"body", b"")), []).append(row)
    return [Hit(same[0].at_ms, same[0].fields, tuple(row.place for row in same)) for same in found.values()]


async def _newest(redis: Redis, topics: Sequence[str], period: Period, end: str, most: int) -> list[_Topic]:
    """Return the streams of topics that have entries in the period, by shard; `most` events are looked for."""
    start = NEWEST if period.before_ms is None else f"({period.before_ms}-0"
    if period.before_ms is not None and period.before_ms <= (period.since_ms or 0):
        return []
    newest = await asyncio.gather(*(_newest_on(shard, topics, start, end) for shard in redis.shards))
    parts = len(newest)
    page = None if parts == 1 else max(2 * most // parts, _FEW)
    return [
        _Topic(name, shard, shard * len(topics) + rank, found[name], page)
        for shard, found in enumerate(newest)
        for rank, name in enumerate(topics)
        if name in found
    ]


async def _newest_on(shard: Redis, topics: Sequence[str], start: str, end: str) -> dict[str, str]:
    """Return the newest entry of each topic that has one on a shard."""
    found: dict[str, str] = {}
    for page in pages(topics, _TOPICS):
        async with shard.pipeline(transaction=False) as pipe:
            for name in page:
                pipe.xrevrange(shard.key.topic(name), start, end, count=1)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        for name, reply in zip(page, replies, strict=True):
            if isinstance(reply, ResponseError):
                if not is_wrong_type(reply):
                    raise reply
            elif reply:
                found[name] = reply[0][0].decode()
    return found


def _ms_of(entry: str) -> int:
    return order_of(entry)[0]
