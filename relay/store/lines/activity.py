"""The activity of each line: its events by hour, and the last of either direction.

The router counts a batch after its commit, in memory, and adds its counts to Redis at most once a second, apart from
the events, by a script for each hundred lines that had some: with a command for each line, that took a tenth of the
worker's CPU where every event is of another line. What a killed router has not yet added, the events of a second, is
missing; no event waits for it, and a Redis that refuses writes delays it.

A week of a line is a string of 168 numbers of four bytes (BITFIELD), which is kept for nine weeks: four of the usual
week, and five of silence. A line takes about 7 kB.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.client import REDIS_ERRORS, ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages
from relay.store.isolation import Isolation, WrongType, checking_types
from relay.store.lines.line_keys import LineKeys
from relay.store.lines.rhythm import HOUR_MS, HOURS, Activity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from relay.core.event import Event
    from relay.store.driver.client import Redis

KEPT_WEEKS = 9
"""Weeks that are read; the keys expire as much later."""

_LIFETIME = KEPT_WEEKS * 7 * 86400  # seconds
_INTERVAL = 1.0  # seconds between two writes
_ADDED = 100  # lines in one script, which blocks Redis for about 0.5 ms
_KEYS_AT_ONCE = 900  # keys of an MGET: a hundred lines, some 60 kB
_ANY = "event"
_KINDS = (_ANY, "inbound", "outbound")
MAX_KNOWN_LINES = 30_000
"""Times of last events, up to three of a line, after which a new line is counted only if Linq lists it."""

_add = Script(__package__, "add_activity")

LineCounts = Counter[tuple[str | None, str | None]]
"""Number of events by line and direction."""


_Counts = Counter[tuple[str, int]]
"""Number of events by line and hour."""


class EventTimes(NamedTuple):
    """The last events of a line, Unix milliseconds; None without any."""

    event_ms: int | None = None
    inbound_ms: int | None = None
    outbound_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """The activity of a batch of events."""

    at_ms: int
    """Time of acceptance of the last of them, Unix milliseconds."""
    counts: LineCounts


def count_lines(events: Iterable[Event]) -> LineCounts:
    """Count the events by line and direction."""
    return Counter([(event.line, event.fields.direction) for event in events])


class ActivityCounter:
    """The counts that the router has not yet added to Redis."""

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._redis = redis
        self._clock = clock
        self._isolation = Isolation(redis)
        self._counts: _Counts = Counter()
        self._times: dict[str, int] = {}  # by line and kind
        self._due = 0.0
        self._admitted: set[str] = set()  # lines that are counted

    def add(self, tally: Tally) -> None:
        """Count a batch that was committed."""
        hour = tally.at_ms // HOUR_MS
        for (line, direction), count in tally.counts.items():
            if line is not None:
                self._counts[line, hour] += count
                self._times[f"{line}:{_ANY}"] = tally.at_ms
                if direction is not None:
                    self._times[f"{line}:{direction}"] = tally.at_ms

    @property
    def is_due(self) -> bool:
        """True if there is something to write, and the last time was long enough ago."""
        return bool(self._counts) and self._clock() >= self._due

    async def write(self, *, at_once: bool = False) -> None:
        """Add the counts to Redis if they are due; without effect while Redis refuses them."""
        if not (self.is_due or (at_once and self._counts)):
            return
        self._due = self._clock() + _INTERVAL
        counts, times = self._counts, self._times
        self._counts, self._times = Counter(), {}  # for what is counted meanwhile
        try:
            await self._drop_excess(counts, times)
            for page in pages(list(counts.items()), _ADDED):
                await self._add(page, times)
                for added, _ in page:  # what follows may fail, and this must not be added twice
                    del counts[added]
        except REDIS_ERRORS:
            self._counts = counts + self._counts
            self._times = times | self._times

    async def _add(self, page: Sequence[tuple[tuple[str, int], int]], times: dict[str, int]) -> None:
        key = LineKeys(self._redis)
        weeks = [key.week(line, hour // HOURS) for (line, hour), _ in page]
        arguments: list[str | int] = [_LIFETIME, len(page)]
        for (_, hour), count in page:
            arguments += (hour % HOURS, count)
        for line in dict.fromkeys(line for (line, _), _ in page):
            for name in (f"{line}:{kind}" for kind in _KINDS):
                if name in times:
                    arguments += (name, times[name])
        types = dict.fromkeys(weeks, "string") | {key.event_times: "hash"}
        await self._isolation.contain(
            "lines", key.event_times, _add(self._redis, [key.event_times, *weeks], arguments), types
        )

    async def _drop_excess(self, counts: _Counts, times: dict[str, int]) -> None:
        """Drop the counts of new lines that Linq does not list, once many lines are known: a payload can name any."""
        key, new = LineKeys(self._redis), {line for line, _ in counts} - self._admitted
        if not new:
            return
        try:
            known = await checking_types(ask(self._redis.hlen(key.event_times)))
            names = sorted(new)
            before = await checking_types(ask(self._redis.hmget(key.event_times, [f"{line}:{_ANY}" for line in names])))
            listed = await checking_types(ask(self._redis.hmget(key.facts, [f"{line}:listed" for line in names])))
        except WrongType:  # it is told when the counts are added
            return
        for line, was_known, is_listed in zip(names, before, listed, strict=True):
            if was_known or is_listed or known < MAX_KNOWN_LINES:
                known += 1
                self._admitted.add(line)
            else:
                for hour in [hour for each, hour in counts if each == line]:
                    del counts[line, hour]
                for kind in _KINDS:
                    times.pop(f"{line}:{kind}", None)


async def read_activity(redis: Redis, lines: Collection[str], now_ms: float) -> dict[str, Activity]:
    """Return the activity of each of the lines."""
    newest = int(now_ms // (HOUR_MS * HOURS))
    weeks = range(newest - KEPT_WEEKS, newest + 1)
    names = [(line, week) for line in lines for week in weeks]
    found: dict[str, dict[int, Sequence[int]]] = {line: {} for line in lines}
    for start in range(0, len(names), _KEYS_AT_ONCE):
        part = names[start : start + _KEYS_AT_ONCE]
        values: list[bytes | None] = await ask(redis.mget([LineKeys(redis).week(*name) for name in part]))
        for (line, week), value in zip(part, values, strict=True):
            if value is not None:
                found[line][week] = _week(value)
    return {line: Activity(of_line) for line, of_line in found.items()}


async def read_event_times(redis: Redis) -> dict[str, EventTimes]:
    """Return the last events of every line that had one."""
    rows: dict[bytes, bytes] = await ask(redis.hgetall(LineKeys(redis).event_times))
    found: dict[str, dict[str, Any]] = {}
    for name, value in rows.items():
        line, _, kind = name.decode().rpartition(":")
        found.setdefault(line, {})[f"{kind}_ms"] = int(value)
    return {line: EventTimes(**times) for line, times in found.items()}


async def forget_lines(redis: Redis, lines: Collection[str]) -> None:
    """Forget the last events of lines; their hours expire."""
    if lines:
        kinds = [f"{line}:{kind}" for line in lines for kind in _KINDS]
        await ask(redis.hdel(LineKeys(redis).event_times, *kinds))


def _week(value: bytes) -> Sequence[int]:
    return struct.unpack(f">{HOURS}I", value.ljust(4 * HOURS, b"\0")[: 4 * HOURS])
