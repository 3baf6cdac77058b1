from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.delivery.outcome import (
    MAX_RETRY_AFTER,
    Attempt,
    AttemptContext,
    DeadLettered,
    Delivered,
    Outcome,
    RetryAt,
    decide,
    is_expired,
    outcome_of_status,
    retry_after_seconds,
)
from tests.properties import quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from relay.core.delivery.outcome import Verdict

NOW = 1_789_377_302
WORTH_ANOTHER_TRY = [Outcome.THROTTLED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNREACHABLE]


def half() -> float:
    """Return the middle of the jitter range: no jitter."""
    return 0.5


def attempt(outcome: Outcome, status: int | None = None, retry_after: float | None = None, detail: str = "") -> Attempt:
    """Return an attempt that began now and took 250 ms."""
    return Attempt(outcome, at_ms=NOW * 1000, took_ms=250, status=status, detail=detail, retry_after=retry_after)


# --- outcomes of a status -------------------------------------------------------------------------

STATUSES = {
    Outcome.DELIVERED: [200, 201, 202, 204, 226, 299],
    Outcome.THROTTLED: [429, 503],
    Outcome.FAILED: [408, 425, 500, 501, 502, 504, 520, 599],
    Outcome.GONE: [410],
    Outcome.REJECTED: [400, 401, 403, 404, 405, 409, 411, 413, 415, 418, 422, 426, 428, 430, 451, 499],
    Outcome.REDIRECTED: [100, 101, 103, 300, 301, 302, 303, 304, 307, 308, 399],
}


@pytest.mark.parametrize(("outcome", "statuses"), STATUSES.items(), ids=STATUSES)
def test_status_maps_to_an_outcome(outcome: Outcome, statuses: list[int]) -> None:
    assert [outcome_of_status(status) for status in statuses] == [outcome] * len(statuses)


def test_every_http_status_has_an_outcome() -> None:
    assert {outcome_of_status(status) for status in range(100, 600)} == set(STATUSES)


# --- Retry-After ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 120 ", 120.0),
        ("3600", 3600.0),
        ("3601", MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW, usegmt=True), 0.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 86400, usegmt=True), MAX_RETRY_AFTER),
        ("Mon, 14 Sep 2026 03:16:02 -0600", 60.0),
        ("Monday, 14-Sep-26 09:16:02 GMT", 60.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "soon", "-1", "1.5", "1e3", "5s", "0x10", "1_000", "²", "None", "Mon", "Mon, 14 Sep 2026"),
        *("Mon, 99 Sep 2026 09:16:02 GMT", "Mon, 14 Foo 2026 09:16:02 GMT", "Mon, 14 Sep 2026 09:16:02 +9999"),
        "2026-09-14T09:16:02Z",
    ],
)
def test_invalid_retry_after_is_ignored(value: str) -> None:
    assert retry_after_seconds(value, NOW) is None


@pytest.mark.parametrize(
    "value", ["Mon, 14 Sep 99999999999999 09:16:02 GMT", "Mon, 14 Sep 2026 09:16:02 +99999999999999999999"]
)
def test_out_of_range_date_is_ignored(value: str) -> None:
    assert retry_after_seconds(value, NOW) is None


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/Denver")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
@pytest.mark.parametrize("value", ["Mon Sep 14 09:16:02 2026", "Mon, 14 Sep 2026 09:16:02 -0000"])
def test_date_without_a_zone_is_utc(value: str) -> None:
    assert retry_after_seconds(value, NOW) == 60.0


@quick
@given(st.text() | st.integers(-5, 5000).map(str) | st.datetimes().map(lambda at: f"{at:%a, %d %b %Y %H:%M:%S} GMT"))
def test_retry_after_is_between_zero_and_an_hour(value: str) -> None:
    seconds = retry_after_seconds(value, NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@dataclass(frozen=True)
class Rules:
    """Retry settings of a subscription."""

    retry: Sequence[float] = (5.0,)
    retry_4xx: bool = False
    max_age: float | None = None


def verdict_on(made: Attempt, tries: int, schedule: Sequence[float], random: Callable[[], float]) -> Verdict:
    """Return the verdict on an attempt that is not a probe, under a schedule."""
    return decide(made, AttemptContext(tries, NOW * 1000), Rules(schedule), random)


# --- verdicts on an attempt -----------------------------------------------------------------------


@pytest.mark.parametrize("tries", [1, 2, 100])
def test_delivered_is_done(tries: int) -> None:
    assert verdict_on(attempt(Outcome.DELIVERED, 200), tries, (5.0,), half) == Delivered()


@pytest.mark.parametrize("outcome", WORTH_ANOTHER_TRY)
def test_transient_failure_is_retried_then_dead_lettered(outcome: Outcome) -> None:
    schedule = (5.0, 30.0, 120.0)
    ended = NOW * 1000 + 250
    assert [verdict_on(attempt(outcome), tries, schedule, half) for tries in (1, 2, 3)] == [
        RetryAt(ended + 5_000),
        RetryAt(ended + 30_000),
        RetryAt(ended + 120_000),
    ]
    assert verdict_on(attempt(outcome), 4, schedule, half) == DeadLettered(f"{outcome.value}: no attempt left of 4")


@pytest.mark.parametrize("outcome", WORTH_ANOTHER_TRY)
def test_empty_schedule_means_a_single_attempt(outcome: Outcome) -> None:
    assert verdict_on(attempt(outcome), 1, (), half) == DeadLettered(f"{outcome.value}: no attempt left of 1")


@pytest.mark.parametrize(("outcome", "status"), [(Outcome.REJECTED, 404), (Outcome.REDIRECTED, 302)])
def test_permanent_failure_is_dead_lettered_at_once(outcome: Outcome, status: int) -> None:
    assert verdict_on(attempt(outcome, status), 1, (5.0,), half) == DeadLettered(f"{outcome.value}: status {status}")


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_verdict(outcome: Outcome) -> None:
    assert isinstance(verdict_on(attempt(outcome), 1, (1.0,), half), Delivered | RetryAt | DeadLettered)


@pytest.mark.parametrize(("asked", "waits"), [(None, 10.0), (0.0, 10.0), (3.0, 10.0), (60.0, 60.0), (3600.0, 3600.0)])
def test_retry_after_never_shortens_a_wait(asked: float | None, waits: float) -> None:
    verdict = verdict_on(attempt(Outcome.THROTTLED, 429, asked), 1, (10.0,), half)
    assert verdict == RetryAt(NOW * 1000 + 250 + round(waits * 1000))


def test_retry_after_does_not_add_attempts() -> None:
    assert isinstance(verdict_on(attempt(Outcome.THROTTLED, 503, 60.0), 2, (10.0,), half), DeadLettered)


@pytest.mark.parametrize(("chance", "waits"), [(0.0, 90.0), (0.5, 100.0), (0.75, 105.0), (0.999999, 110.0)])
def test_jitter_is_at_most_ten_percent(chance: float, waits: float) -> None:
    verdict = verdict_on(attempt(Outcome.FAILED, 500), 1, (100.0,), lambda: chance)
    assert verdict == RetryAt(NOW * 1000 + 250 + round(waits * 1000))


schedules = st.lists(st.floats(0, 86400), max_size=12)
chances = st.floats(0, 1, exclude_max=True)


@quick
@given(schedules, st.lists(st.tuples(st.sampled_from(WORTH_ANOTHER_TRY), chances), min_size=13, max_size=13))
def test_attempts_follow_the_schedule_within_ten_percent(
    schedule: list[float], course: list[tuple[Outcome, float]]
) -> None:
    now_ms = NOW * 1000
    tries = 0
    for outcome, chance in course:
        tries += 1
        verdict = verdict_on(Attempt(outcome, now_ms, 7), tries, schedule, lambda drawn=chance: drawn)  # type: ignore[misc]  # the value of this round
        if isinstance(verdict, DeadLettered):
            break
        assert isinstance(verdict, RetryAt)
        wait_ms = verdict.due_ms - now_ms - 7
        planned_ms = schedule[tries - 1] * 1000
        assert planned_ms * 0.9 - 1 <= wait_ms <= planned_ms * 1.1 + 1
        now_ms = verdict.due_ms
    assert tries == len(schedule) + 1


@quick
@given(st.sampled_from(Outcome), st.integers(1, 20), schedules, chances, st.none() | st.floats(0, MAX_RETRY_AFTER))
def test_retry_is_due_after_the_attempt_within_the_jitter(
    outcome: Outcome, tries: int, schedule: list[float], chance: float, asked: float | None
) -> None:
    verdict = verdict_on(attempt(outcome, 500, asked), tries, schedule, lambda: chance)
    if isinstance(verdict, RetryAt) and verdict.counts:
        wait = (verdict.due_ms - NOW * 1000 - 250) / 1000
        assert (asked or 0) - 0.001 <= wait <= max(schedule[tries - 1] * 1.1, asked or 0) + 0.001


@pytest.mark.parametrize("schedule", [(), (5.0,)])
def test_failed_probe_costs_no_attempt(schedule: tuple[float, ...]) -> None:
    probe = AttemptContext(9, NOW * 1000, is_probe=True)
    wait = round(sum(schedule) * 1000)
    assert decide(attempt(Outcome.FAILED, 500), probe, Rules(schedule), half) == RetryAt(
        NOW * 1000 + 250 + wait, counts=False
    )
    assert isinstance(decide(attempt(Outcome.REJECTED, 400), probe, Rules(schedule), half), DeadLettered)


def test_gone_waits_for_resume_and_costs_no_attempt() -> None:
    gone = decide(attempt(Outcome.GONE, 410), AttemptContext(1, NOW * 1000), Rules(()), half)
    assert gone == RetryAt(NOW * 1000 + 250, counts=False)


def test_4xx_is_retried_with_retry_4xx() -> None:
    rules = Rules(retry_4xx=True)
    assert decide(attempt(Outcome.REJECTED, 404), AttemptContext(1, NOW * 1000), rules, half) == RetryAt(
        NOW * 1000 + 5250
    )
    assert isinstance(decide(attempt(Outcome.REJECTED, 404), AttemptContext(2, NOW * 1000), rules, half), DeadLettered)


@pytest.mark.parametrize(("age", "expired"), [(3594.0, False), (3596.0, True)])
def test_delivery_too_old_for_its_retry_is_dead_lettered(age: float, expired: bool) -> None:  # noqa: FBT001
    since_ms = round((NOW - age) * 1000)
    verdict = decide(attempt(Outcome.FAILED, 500), AttemptContext(1, since_ms), Rules(max_age=3600.0), half)
    assert verdict == (DeadLettered("expired: older than 1h") if expired else RetryAt(NOW * 1000 + 5250))
    assert not is_expired(since_ms, Rules(), NOW * 1000 * 2)


@pytest.mark.parametrize("refusal", [attempt(Outcome.REJECTED, 404), attempt(Outcome.REDIRECTED, 301)])
@pytest.mark.parametrize("schedule", [(), (30.0,)])
def test_refused_delivery_waits_while_held(refusal: Attempt, schedule: tuple[float, ...]) -> None:
    """However many attempts it had, and with a schedule of a single one."""
    held = AttemptContext(9, NOW * 1000, is_held=True)
    verdict = decide(refusal, held, Rules(schedule), half)
    assert verdict == RetryAt(refusal.ended_ms + 1000 * round(sum(schedule)), counts=False)
