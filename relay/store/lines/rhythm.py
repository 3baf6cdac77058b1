"""The rhythm of a line: its events by hour of its usual week, and the silence that is unusual for it. Pure.

Silence is counted in *busy hours*. Of each hour since the last event, the share of the weeks before counts in which
the line had events in that hour of the week. A line that is used from nine to six is silent after four such hours, and
neither at night nor at the weekend; a line with an event a day is silent after about four days. The number of events
in an hour does not matter, so a burst raises no expectation.

The weeks before are up to four that end with the last event, so that a long silence is not taken for the rhythm. Hours
are those of UTC: where the clocks change, the week moves by an hour, and neighbouring hours count for each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOURS = 168
"""Hours of a week."""

HOUR_MS = 3_600_000

BUSY_HOURS = 4.0
"""Busy hours without an event after which a line is silent."""

WEEKS = 4
"""Weeks of which the usual one is the mean."""

_ENOUGH_WEEKS = 2  # fewer do not tell a usual Monday from an unusual one
_ENOUGH_HOURS = 8  # hours with events in them; a line with fewer is hardly used
_DAY = 24


@dataclass(frozen=True, slots=True)
class Activity:
    """The events of a line by hour."""

    weeks: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """By week since 1970, which begins on a Thursday: its 168 hours."""

    def count(self, hour: int) -> int:
        """Return the number of events in an hour since 1970."""
        week = self.weeks.get(hour // HOURS)
        return week[hour % HOURS] if week else 0

    @property
    def first_hour(self) -> int | None:
        """The first hour with an event; None without any."""
        for week in sorted(self.weeks):
            for slot, count in enumerate(self.weeks[week]):
                if count:
                    return week * HOURS + slot
        return None


def is_silent(activity: Activity, last_ms: int, now_ms: float) -> bool | None:
    """Return True if the silence since the last event is unusual for the line; None if too little is known of it."""
    last = last_ms // HOUR_MS
    first = activity.first_hour
    if first is None or last - first < _ENOUGH_WEEKS * HOURS:
        return None
    oldest = max(first, last - WEEKS * HOURS + 1)
    if sum(activity.count(hour) > 0 for hour in range(oldest, last + 1)) < _ENOUGH_HOURS:
        return None
    missed = 0.0
    hour = last
    while hour * HOUR_MS < now_ms:
        begin, end = max(hour * HOUR_MS, last_ms), min((hour + 1) * HOUR_MS, now_ms)
        missed += (end - begin) / HOUR_MS * _busy_share(activity, hour, oldest, last)
        if missed >= BUSY_HOURS:
            return True
        hour += 1
    return False


def events_of_a_day(activity: Activity, now_ms: float) -> tuple[int, float | None]:
    """Return the number of events in the 24 hours until now, and the mean of the same hours in the weeks before.

    The second is None if the line has been known for less than two weeks.
    """
    hour = int(now_ms // HOUR_MS)
    passed = now_ms / HOUR_MS - hour
    hours = range(hour - _DAY, hour + 1)
    shares = [1 - passed, *([1.0] * (_DAY - 1)), passed]  # the first of the hours is in it in part, as is this one
    today = sum(activity.count(each) for each in hours[1:])
    first = activity.first_hour
    weeks = 0 if first is None else min((hour - _DAY - first) // HOURS, WEEKS)
    if weeks < _ENOUGH_WEEKS:
        return today, None
    before = (
        share * activity.count(each - week * HOURS)
        for week in range(1, weeks + 1)
        for each, share in zip(hours, shares, strict=True)
    )
    return today, sum(before) / weeks


def _busy_share(activity: Activity, hour: int, oldest: int, last: int) -> float:
    """Return the share of the weeks before in which the hour had events; its neighbours count half as much."""
    before, at, after = (_share(activity, each, oldest, last) for each in (hour - 1, hour, hour + 1))
    return (before + 2 * at + after) / 4


def _share(activity: Activity, hour: int, oldest: int, last: int) -> float:
    """Return the share of the weeks in which this hour of the week had events, of those from `oldest` to `last`."""
    weeks = busy = 0
    newest = hour - max((hour - last + HOURS - 1) // HOURS, 1) * HOURS  # the last one that is not in the silence
    for each in range(newest, oldest - 1, -HOURS):
        weeks += 1
        busy += activity.count(each) > 0
    return busy / weeks if weeks else 0.0
