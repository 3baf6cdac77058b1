from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.delivery.circuit_breaker import CircuitBreaker, Limits, OpenBreaker, State
from relay.core.delivery.outcome import Attempt, Outcome
from tests.properties import quick

SECOND = 1000
T = 1_789_377_302_000
DOWN = [Outcome.THROTTLED, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.UNREACHABLE]
INDIFFERENT = [Outcome.REJECTED, Outcome.GONE, Outcome.REDIRECTED]


class Play:
    """A breaker and a clock."""

    def __init__(self, concurrency: int = 10, trip: OpenBreaker | None = None) -> None:
        self.breaker = CircuitBreaker(concurrency, lambda: 0.5, trip, Limits())
        self.now = T
        self._names = count()

    def note(self, outcome: Outcome, name: object = None, retry_after: float | None = None, ago: int = 0) -> None:
        """An attempt that began `ago` ms before now; of a delivery of its own if none is named."""
        attempt = Attempt(outcome, self.now - ago, ago, 503, retry_after=retry_after)
        self.breaker.record(next(self._names) if name is None else name, attempt, self.now)

    def opened(self) -> Play:
        """After enough failures to open it."""
        for _ in range(5):
            self.note(Outcome.FAILED)
        assert self.state() is State.OPEN
        return self

    def probe(self, outcome: Outcome) -> None:
        """When the next probe is due, it comes to `outcome`."""
        self.now = max(self.now, self.trip.probe_ms)
        assert self.most > 0
        self.note(outcome)

    def state(self) -> State:
        return self.breaker.state

    @property
    def trip(self) -> OpenBreaker:
        """That of a breaker that is not closed."""
        assert self.breaker.trip is not None
        return self.breaker.trip

    @property
    def most(self) -> int:
        return self.breaker.most_in_flight(self.now)


def test_closed_lets_everything_through() -> None:
    play = Play(concurrency=10)
    assert (play.state(), play.most, play.breaker.trip) == (State.CLOSED, 10, None)


@pytest.mark.parametrize("outcome", DOWN)
def test_it_opens_after_a_run_of_failures_of_different_deliveries(outcome: Outcome) -> None:
    play = Play()
    for n in range(5):
        assert play.state() is State.CLOSED, n
        play.note(outcome)
    assert (play.state(), play.most) == (State.OPEN, 0)
    assert play.breaker.trip == OpenBreaker(T, T + SECOND, 0, f"{outcome}: 503")


def test_single_failing_delivery_does_not_open() -> None:
    play = Play()
    for _ in range(19):
        play.note(Outcome.FAILED, "poison")
        play.now += 60 * SECOND
    assert play.state() is State.CLOSED


def test_a_success_ends_a_run() -> None:
    play = Play()
    for outcome in [*[Outcome.FAILED] * 4, Outcome.DELIVERED] * 3:
        play.note(outcome)
    assert play.state() is State.CLOSED


def test_opens_when_most_recent_attempts_fail() -> None:
    play = Play()
    for outcome in [*[Outcome.FAILED] * 4, Outcome.DELIVERED] * 4:
        play.note(outcome)
        play.now += SECOND // 10
    assert play.state() is State.CLOSED  # the last was a success, and four of five is the limit
    play.note(Outcome.FAILED)
    assert play.state() is State.OPEN


def test_failures_of_long_ago_are_no_longer_a_share() -> None:
    play = Play()
    for outcome in [*[Outcome.FAILED] * 4, Outcome.DELIVERED] * 20:
        play.note(outcome)
        play.now += SECOND
    assert play.state() is State.CLOSED


@pytest.mark.parametrize("outcome", INDIFFERENT)
def test_neutral_outcomes_change_nothing(outcome: Outcome) -> None:
    play = Play()
    for _ in range(50):
        play.note(outcome)
    assert play.state() is State.CLOSED
    play.opened().probe(outcome)
    assert (play.state(), play.most) == (State.OPEN, 1)  # the next one may tell


def test_probes_wait_twice_as_long_each_time_up_to_a_minute() -> None:
    play = Play().opened()
    waits = []
    for _ in range(9):
        waits.append((play.trip.probe_ms - play.now) // SECOND)
        assert play.breaker.most_in_flight(play.trip.probe_ms - 1) == 0
        play.probe(Outcome.TIMED_OUT)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (play.trip.opened_ms, play.trip.probes) == (T, 9)


def test_an_hour_of_being_down_costs_some_dozens_of_probes() -> None:
    play = Play().opened()
    probes = 0
    while play.now < T + 3600 * SECOND:
        play.probe(Outcome.UNREACHABLE)
        probes += 1
    assert probes <= 66


def test_retry_after_delays_the_probe() -> None:
    play = Play()
    for _ in range(5):
        play.note(Outcome.THROTTLED, retry_after=300.0)
    assert play.trip.probe_ms == T + 300 * SECOND


def test_attempts_in_flight_at_opening_are_ignored() -> None:
    play = Play().opened()
    trip = play.breaker.trip
    play.now += SECOND
    play.note(Outcome.TIMED_OUT, ago=5 * SECOND)
    play.note(Outcome.DELIVERED, ago=5 * SECOND)
    assert play.breaker.trip is trip


def test_ramps_up_one_at_a_time() -> None:
    play = Play(concurrency=4).opened()
    play.probe(Outcome.DELIVERED)
    widths = [play.most]
    while play.state() is State.RAMPING:
        play.now += 100
        play.note(Outcome.DELIVERED)
        widths.append(play.most)
    assert widths == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4][: len(widths)]
    assert (play.state(), play.breaker.trip, play.most) == (State.CLOSED, None, 4)


def test_ramp_ends_after_the_window_with_little_traffic() -> None:
    play = Play(concurrency=50).opened()
    play.probe(Outcome.DELIVERED)
    play.now += 10 * SECOND
    play.note(Outcome.DELIVERED)
    assert play.state() is State.CLOSED


def test_ramp_ends_after_the_window_without_traffic() -> None:
    play = Play(concurrency=50).opened()
    assert not play.breaker.ramp_ends_ms
    play.probe(Outcome.DELIVERED)
    assert play.breaker.ramp_ends_ms == play.now + 10 * SECOND
    play.breaker.tick(play.now + 9 * SECOND)
    assert play.state() is State.RAMPING
    play.breaker.tick(play.now + 10 * SECOND)
    assert (play.state(), play.breaker.trip) == (State.CLOSED, None)


def test_two_failures_in_a_row_reopen_a_ramp() -> None:
    play = Play(concurrency=50).opened()
    play.probe(Outcome.FAILED)
    play.probe(Outcome.DELIVERED)
    play.note(Outcome.FAILED, "poison")
    play.note(Outcome.FAILED, "poison")
    assert play.state() is State.RAMPING
    play.now += SECOND
    play.note(Outcome.FAILED)
    assert play.state() is State.OPEN
    assert (play.trip.probes, play.trip.probe_ms - play.now) == (2, 4 * SECOND)


def test_state_survives_a_restart() -> None:
    trip = OpenBreaker(T, T + 30 * SECOND, 5, "timed_out: ")
    assert OpenBreaker.decode(trip.encode()) == trip
    assert OpenBreaker.decode(None) is None
    play = Play(trip=trip)
    assert (play.state(), play.most) == (State.OPEN, 0)
    play.probe(Outcome.FAILED)
    assert play.trip.probes == 6


@quick
@given(st.lists(st.tuples(st.sampled_from(Outcome), st.integers(0, 5), st.integers(0, 5000)), max_size=200))
def test_always_allows_a_delivery_within_the_longest_wait(
    course: list[tuple[Outcome, int, int]],
) -> None:
    play = Play(concurrency=3)
    for outcome, name, ms in course:
        play.now += ms
        if play.most:
            play.note(outcome, name)
        assert 0 <= play.most <= 3
        assert play.breaker.most_in_flight(play.now + 61 * SECOND) >= 1
        assert (play.breaker.trip is None) == (play.state() is State.CLOSED)
