"""A batch of events that a member of a pull group receives, read in several round trips.

If one of them fails, what came before it is returned: an event that no reader has seen would have to wait for its
visibility timeout.

With several shards each round trip asks them at the same time, each for its share; what some of them do not fill, those
with more events get in the next. So none starves behind a busy one, and the limits hold for the batch as a whole. The
events are then in the order of their ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import randrange
from typing import TYPE_CHECKING, NamedTuple

from relay.store.driver.client import REDIS_ERRORS
from relay.store.driver.streams import order_of
from relay.store.sharding.places import entry_of
from relay.store.topics.pull.group import MAX_PENDING, PAGE, Limits, consumer_of
from relay.store.topics.pull.whole_group import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.services.topics.pull.request import Request
    from relay.store.topics.pull.group import Delivered, Page, Run
    from relay.store.topics.pull.whole_group import WholeGroup

MAX_SIZE = 4 * 1024 * 1024
"""Bytes of a batch; its last events may exceed it."""

JOINED, CREATED, RESTORED = "joined", "created", "restored"
BETWEEN_RUNS = ","
"""The separator of the runs in a cursor."""
RUNS, MAX_RUNS = 60, 140
"""Runs with which a batch ends, beside one of each shard, and the most of a cursor, which is passed in a URL: about 40
characters each. A batch has more than one on a shard only if others are pending between events that come again.
"""


@dataclass(slots=True)
class Batch:
    """The events that a member has received."""

    topic: str
    group: str
    member: str
    state: str = JOINED
    """`joined`, `created` (the group is new) or `restored` (it was lost, and is made again at its last known place)."""
    missed: int | None = 0
    """Events that were trimmed before the group read them; None if some were, and their number is not known."""
    trimmed: int = 0
    """Events that were trimmed after they had been delivered, and before they were acknowledged."""
    dead: int = 0
    """Events that became dead letters, since they were delivered as often as they may be."""
    pending: int = 0
    """Events of the group that are not acknowledged, these included."""
    events: list[Delivered] = field(default_factory=list)
    is_full: bool = False
    """True if a shard delivers nothing new until some of its events are acknowledged."""
    error: Exception | None = None
    """The error of a shard that does not answer, while others do."""
    runs: list[Run] = field(default_factory=list)
    """The same events, for the cursor."""
    left: Sequence[Run] = ()
    """Runs of the batch before that could not be acknowledged yet."""

    @property
    def has_news(self) -> bool:
        """True if there is something to tell, if not events."""
        return bool(self.events or self.trimmed or self.dead or self.missed != 0 or self.state == RESTORED)

    @property
    def cursor(self) -> str | None:
        """The cursor that acknowledges all of the events, and no others; None if there is none.

        What has no room in it comes again after its timeout.
        """
        return BETWEEN_RUNS.join(map(str, [*self.left, *self.runs][-MAX_RUNS:])) or None

    def add(self, page: Page) -> None:
        """Add the events of a page, and its counts."""
        self.events += page.events
        for run in page.runs:
            _join(self.runs, run)
        self.missed = None if page.missed < 0 or self.missed is None else self.missed + page.missed
        self.trimmed += page.trimmed
        self.dead += page.dead


class Filling:
    """The batches of a member, one after the other."""

    def __init__(self, group: WholeGroup, request: Request) -> None:
        self._group = group
        self._request = request
        self._consumer = consumer_of(request.member, request.visibility)
        self._start = entry_of(request.start)[0]
        self._runs = max(RUNS // len(group.parts) - 1, 1)
        self._held: dict[int, int] = {}
        """Events that the member holds, as far as a shard has told."""

    async def batch(self, unused: float, away: Mapping[int, Exception]) -> Batch:
        """Read a batch, as far as there are events; consumers that were not used for `unused` seconds are deleted.

        `away` has the shards that are known not to answer.
        """
        batch = Batch(self._request.topic, self._request.group, self._request.member)
        if len(self._group.parts) == 1:
            await self._fill(batch, unused)
        else:
            await self._fill_from_all(batch, unused, away)
        return batch

    async def _fill(self, batch: Batch, unused: float) -> None:
        request, [group] = self._request, self._group.parts
        count, size = request.limit, MAX_SIZE
        while count > 0 and size > 0:
            try:
                limits = Limits(count, size, request.held, request.max_deliveries, self._runs)
                page = await group.receive(self._consumer, limits, start=self._start, unused=unused)
            except REDIS_ERRORS:
                if batch.events:
                    break
                raise
            batch.state = batch.state if page.state == JOINED else page.state
            batch.add(page)
            batch.pending, batch.is_full = page.pending, page.pending >= MAX_PENDING
            if len(page.events) < min(count, PAGE) or len(batch.runs) > RUNS:
                break
            count -= len(page.events)
            size -= _size_of(page)
            unused = 0

    async def _fill_from_all(self, batch: Batch, unused: float, away: Mapping[int, Exception]) -> None:
        reading, shards = Reading(self._consumer, self._start, unused), range(len(self._group.parts))
        first = randrange(len(shards))  # noqa: S311  the shard that gets what cannot be divided
        candidates, left = [*shards[first:], *shards[:first]], _Left(self._request.limit, MAX_SIZE)
        if self._is_bounded and not self._held:
            nothing = dict.fromkeys(shards, Limits(0, 1, 0, self._request.max_deliveries))
            self._take(batch, await self._group.begin(reading, nothing, away))
        limits = self._limits(candidates, left)
        answers = answered = await self._group.begin(reading, limits, away)
        while True:
            left = left.after(self._take(batch, answered))
            candidates = _with_more(candidates, limits, answers)
            is_full = left.is_none or len(batch.runs) >= RUNS + len(shards)
            if is_full or not candidates or (self._is_bounded and not self._room):
                break
            limits = {n: limit for n, limit in self._limits(candidates, left).items() if limit.events}
            answered = await self._group.more(reading._replace(unused=0), limits)
            answers = answers | answered
        self._conclude(batch, answers)

    @property
    def _is_bounded(self) -> bool:
        """True if the member may hold less than a group may."""
        return self._request.held < MAX_PENDING

    @property
    def _room(self) -> int:
        """The number of events that the member may get, beside those that it holds."""
        return max(self._request.held - sum(self._held.values()), 0)

    def _limits(self, shards: Sequence[int], left: _Left) -> dict[int, Limits]:
        """Return the limits of each shard; the first ones get what cannot be divided."""
        counts, rooms = _shares(left.events, len(shards)), _shares(self._room, len(shards))
        size = left.size // max(sum(map(bool, counts)), 1) + 1
        found = {}
        for n, count, room in zip(shards, counts, rooms, strict=True):
            held = self._held.get(n, 0) + room if self._is_bounded else MAX_PENDING
            found[n] = Limits(min(count, PAGE), size, held, self._request.max_deliveries, self._runs)
        return found

    def _take(self, batch: Batch, answers: Mapping[int, Page | Exception]) -> list[Page]:
        """Take the events of pages into the batch."""
        pages = {n: page for n, page in answers.items() if not isinstance(page, Exception)}
        states = {page.state for page in pages.values()}
        if RESTORED in states or states == {CREATED}:
            batch.state = RESTORED if RESTORED in states else CREATED
        for n, page in pages.items():
            batch.add(page)
            self._held[n] = page.held
        return list(pages.values())

    def _conclude(self, batch: Batch, answers: Mapping[int, Page | Exception]) -> None:
        """Note what the last answers of all shards tell.

        Raises:
            RelayError, RedisError: there is nothing to tell but an error, and it is not only that some do not answer.
        """
        pages = [page for page in answers.values() if not isinstance(page, Exception)]
        errors = [error for error in answers.values() if isinstance(error, Exception)]
        batch.pending = sum(page.pending for page in pages)
        batch.is_full = any(page.pending >= MAX_PENDING for page in pages)
        batch.events.sort(key=_place_of)
        batch.error = next(iter(errors), None)
        if errors and not batch.has_news:
            for error in errors:
                if not pages or not isinstance(error, REDIS_ERRORS):
                    raise error


class _Left(NamedTuple):
    """The part of a batch that is not filled yet."""

    events: int
    size: int

    @property
    def is_none(self) -> bool:
        """True if nothing more fits in."""
        return self.events <= 0 or self.size <= 0

    def after(self, pages: Sequence[Page]) -> _Left:
        """Return what is left after these pages."""
        events, size = sum(len(page.events) for page in pages), sum(map(_size_of, pages))
        return _Left(self.events - events, self.size - size)


def _with_more(
    shards: Sequence[int], limits: Mapping[int, Limits], answers: Mapping[int, Page | Exception]
) -> list[int]:
    """Return the shards that may have more events, first those that could not deliver any yet."""
    unasked, full = [], []
    for n in shards:
        page, limit = answers[n], limits.get(n)
        if isinstance(page, Exception):
            continue
        has_no_room = limit is not None and MAX_PENDING > limit.held <= page.held
        if limit is None or not limit.events or (has_no_room and not page.events):
            unasked.append(n)
        elif len(page.events) >= limit.events or has_no_room or _size_of(page) >= limit.size // 2:
            full.append(n)
    return unasked + full


def _shares(total: int, parts: int) -> list[int]:
    """Return `total` in almost equal parts; the first ones get what cannot be divided."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def _join(runs: list[Run], run: Run) -> None:
    """Add a run of events to those of a batch; if they follow the last ones of their shard, to these."""
    shard = entry_of(run.last.entry)[1]
    at = max((at for at, other in enumerate(runs) if entry_of(other.last.entry)[1] == shard), default=None)
    if at is not None:
        before = runs[at]
        follows = entry_of(before.last.entry)[0] == run.after
        if follows and before.last.deliveries == run.last.deliveries:
            runs[at] = before._replace(last=run.last)
            return
    runs.append(run)


def _size_of(page: Page) -> int:
    return sum(len(event.record.body) for event in page.events)


def _place_of(event: Delivered) -> tuple[tuple[int, int], int]:
    """Return the sort key of an event among those of all shards."""
    entry, shard = entry_of(event.record.entry)
    return order_of(entry), shard
