"""Silence that is unusual for a line: by hour and weekday, at the ends of hours, and without enough history."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from relay.store.lines.rhythm import HOUR_MS, HOURS, Activity, events_of_a_day, is_silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MONDAY = datetime(2026, 9, 14, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def activity(hours: Iterable[datetime], count: int = 5) -> Activity:
    weeks: dict[int, list[int]] = defaultdict(lambda: [0] * HOURS)
    for moment in hours:
        hour = ms(moment) // HOUR_MS
        weeks[hour // HOURS][hour % HOURS] += count
    return Activity(weeks)


def weeks_until(last: datetime, is_busy: Callable[[datetime], bool], weeks: int = 4) -> Activity:
    """Return the activity of a line that was busy in such hours until `last`."""
    hours = (last - timedelta(hours=back) for back in range(weeks * HOURS))
    return activity(hour for hour in hours if is_busy(hour))


def office(hour: datetime) -> bool:
    return hour.weekday() < 5 and 9 <= hour.hour < 18


FRIDAY_EVENING = MONDAY + timedelta(days=4, hours=17)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (timedelta(hours=10), False),  # the night
        (timedelta(days=2), False),  # Sunday
        (timedelta(days=2, hours=18), False),  # Monday, 11 o'clock: two hours of work
        (timedelta(days=2, hours=22), True),  # Monday, 15 o'clock
    ],
)
def test_line_of_an_office_is_silent_in_its_hours_only(later: timedelta, *, expected: bool) -> None:
    last = FRIDAY_EVENING + timedelta(minutes=50)
    assert is_silent(weeks_until(FRIDAY_EVENING, office), ms(last), ms(last + later)) is expected


def test_busy_line_is_silent_after_four_hours_to_the_minute() -> None:
    last = MONDAY + timedelta(hours=3, minutes=40)
    busy = weeks_until(MONDAY + timedelta(hours=3), lambda _: True)
    assert is_silent(busy, ms(last), ms(last + timedelta(hours=3, minutes=58))) is False
    assert is_silent(busy, ms(last), ms(last + timedelta(hours=4, minutes=1))) is True


def test_line_with_an_event_a_day_is_silent_after_days() -> None:
    daily = weeks_until(MONDAY, lambda hour: hour.hour == 0)
    assert is_silent(daily, ms(MONDAY), ms(MONDAY + timedelta(days=3))) is False
    assert is_silent(daily, ms(MONDAY), ms(MONDAY + timedelta(days=5))) is True


def test_long_silence_does_not_become_the_rhythm() -> None:
    busy = weeks_until(MONDAY, lambda _: True)
    assert is_silent(busy, ms(MONDAY), ms(MONDAY + timedelta(weeks=5))) is True


@pytest.mark.parametrize(
    "little",
    [
        Activity(),
        weeks_until(MONDAY, lambda _: True, weeks=1),
        weeks_until(MONDAY, lambda hour: hour.weekday() == 0 and hour.hour == 0),
    ],
    ids=["nothing", "a week", "an hour a week"],
)
def test_line_with_little_history_is_not_judged(little: Activity) -> None:
    assert is_silent(little, ms(MONDAY), ms(MONDAY + timedelta(days=3))) is None


def test_events_of_a_day_are_those_of_its_usual_hours() -> None:
    now = MONDAY + timedelta(hours=12, minutes=30)
    known = weeks_until(MONDAY - timedelta(days=1), lambda hour: hour.hour < 12)
    today, usual = events_of_a_day(known, ms(now))
    assert today == 0
    assert usual == pytest.approx(60, rel=0.1)
    assert events_of_a_day(weeks_until(MONDAY, office, weeks=1), ms(now))[1] is None
