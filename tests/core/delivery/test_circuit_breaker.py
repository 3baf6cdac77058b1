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
REFUSED = [Outcome.REJECTED, Outcome.REDIRECTED]


class Harness:
    """A circuit breaker and a clock."""

    def __init__(self, concurrency: int = 10, open_state: OpenBreaker | None = None) -> None:
        self.breaker = CircuitBreaker(concurrency, lambda: 0.5, open_state, Limits())
        self.now = T
        self._names = count()

    def record(
        self,
        outcome: Outcome,
        name: object = None,
        retry_after: float | None = None,
        ago: int = 0,
        status: int = 503,
    ) -> None:
        """Record an attempt that began `ago` ms before now, of a new delivery unless one is named."""
        attempt = Attempt(outcome, self.now - ago, ago, status, retry_after=retry_after)
        self.breaker.record(next(self._names) if name is None else name, attempt, self.now)

    def opened(self) -> Harness:
        """Record enough failures to open the breaker."""
        for _ in range(5):
            self.record(Outcome.FAILED)
        assert self.state() is State.OPEN
        return self

    def probe(self, outcome: Outcome) -> None:
        """Wait until the next probe is due and record its outcome."""
        self.now = max(self.now, self.open_state.probe_ms)
        assert self.max_in_flight > 0
        self.record(outcome)

    def state(self) -> State:
        return self.breaker.state

    @property
    def open_state(self) -> OpenBreaker:
        """The state of a breaker that is not closed."""
        assert self.breaker.open_state is not None
        return self.breaker.open_state

    @property
    def max_in_flight(self) -> int:
        return self.breaker.most_in_flight(self.now)


def test_closed_allows_every_attempt() -> None:
    harness = Harness(concurrency=10)
    assert (harness.state(), harness.max_in_flight, harness.breaker.open_state) == (State.CLOSED, 10, None)


@pytest.mark.parametrize("outcome", DOWN)
def test_opens_after_consecutive_failures_of_different_deliveries(outcome: Outcome) -> None:
    harness = Harness()
    for n in range(5):
        assert harness.state() is State.CLOSED, n
        harness.record(outcome)
    assert (harness.state(), harness.max_in_flight) == (State.OPEN, 0)
    assert harness.breaker.open_state == OpenBreaker(T, T + SECOND, 0, f"{outcome}: 503")


def test_single_failing_delivery_does_not_open() -> None:
    harness = Harness()
    for _ in range(19):
        harness.record(Outcome.FAILED, "poison")
        harness.now += 60 * SECOND
    assert harness.state() is State.CLOSED


def test_success_resets_the_failure_run() -> None:
    harness = Harness()
    for outcome in [*[Outcome.FAILED] * 4, Outcome.DELIVERED] * 3:
        harness.record(outcome)
    assert harness.state() is State.CLOSED


def test_opens_when_most_recent_attempts_fail() -> None:
    harness = Harness()
    for outcome in [*[Outcome.FAILED] * 4, Outcome.DELIVERED] * 4:
        harness.record(outcome)
        harness.now += SECOND // 10
    assert harness.state() is State.CLOSED  # the last was a success, and four of five is the limit
    harness.record(Outcome.FAILED)
    assert harness.state() is State.OPEN


def test_old_failures_leave_the_failure_rate() -> None:
    harness = Harness()
    for outcome in [*[Outcome.FAILED] * 4, Outcome.DELIVERED] * 20:
        harness.record(outcome)
        harness.now += SECOND
    assert harness.state() is State.CLOSED


def test_neutral_outcome_is_ignored() -> None:
    harness = Harness()
    for _ in range(50):
        harness.record(Outcome.GONE)
    assert harness.state() is State.CLOSED
    harness.opened().probe(Outcome.GONE)
    assert (harness.state(), harness.max_in_flight) == (State.OPEN, 1)  # the next probe decides


@pytest.mark.parametrize("outcome", REFUSED)
def test_run_of_the_same_refusal_opens(outcome: Outcome) -> None:
    harness = Harness()
    for _ in range(19):
        harness.record(outcome, status=404)
    assert harness.state() is State.CLOSED
    harness.record(outcome, status=404)
    assert harness.state() is State.OPEN
    assert harness.open_state.reason == f"{outcome}: 404"


def test_refusals_that_differ_do_not_open() -> None:
    harness = Harness()
    for number in range(100):
        harness.record(Outcome.REJECTED, status=400 + number % 2)  # each is the fault of its event
        harness.record(Outcome.REJECTED, name="one delivery", status=422)
    for number in range(100):
        harness.record(Outcome.REJECTED if number % 15 else Outcome.DELIVERED, status=404)
    assert harness.state() is State.CLOSED


@pytest.mark.parametrize("outcome", REFUSED)
def test_refused_probe_has_failed(outcome: Outcome) -> None:
    harness = Harness().opened()
    harness.probe(outcome)
    assert (harness.state(), harness.open_state.probes, harness.max_in_flight) == (State.OPEN, 1, 0)


def test_ramp_survives_some_refusals() -> None:
    """The deliveries that were held are sent then, and some of them may be refused for what they are."""
    harness = Harness().opened()
    harness.probe(Outcome.DELIVERED)
    for _ in range(19):
        harness.record(Outcome.REJECTED, status=422)
    assert harness.state() is State.RAMPING
    harness.record(Outcome.REJECTED, status=422)
    assert harness.state() is State.OPEN


def test_probe_interval_doubles_up_to_a_minute() -> None:
    harness = Harness().opened()
    waits = []
    for _ in range(9):
        waits.append((harness.open_state.probe_ms - harness.now) // SECOND)
        assert harness.breaker.most_in_flight(harness.open_state.probe_ms - 1) == 0
        harness.probe(Outcome.TIMED_OUT)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (harness.open_state.opened_ms, harness.open_state.probes) == (T, 9)


def test_hour_of_outage_costs_dozens_of_probes() -> None:
    harness = Harness().opened()
    probes = 0
    while harness.now < T + 3600 * SECOND:
        harness.probe(Outcome.UNREACHABLE)
        probes += 1
    assert probes <= 66


def test_retry_after_delays_the_probe() -> None:
    harness = Harness()
    for _ in range(5):
        harness.record(Outcome.THROTTLED, retry_after=300.0)
    assert harness.open_state.probe_ms == T + 300 * SECOND


def test_attempts_in_flight_at_opening_are_ignored() -> None:
    harness = Harness().opened()
    open_state = harness.breaker.open_state
    harness.now += SECOND
    harness.record(Outcome.TIMED_OUT, ago=5 * SECOND)
    harness.record(Outcome.DELIVERED, ago=5 * SECOND)
    assert harness.breaker.open_state is open_state


def test_concurrency_ramps_up_by_one() -> None:
    harness = Harness(concurrency=4).opened()
    harness.probe(Outcome.DELIVERED)
    widths = [harness.max_in_flight]
    while harness.state() is State.RAMPING:
        harness.now += 100
        harness.record(Outcome.DELIVERED)
        widths.append(harness.max_in_flight)
    assert widths == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4][: len(widths)]
    assert (harness.state(), harness.breaker.open_state, harness.max_in_flight) == (State.CLOSED, None, 4)


def test_ramp_ends_after_the_window_with_little_traffic() -> None:
    harness = Harness(concurrency=50).opened()
    harness.probe(Outcome.DELIVERED)
    harness.now += 10 * SECOND
    harness.record(Outcome.DELIVERED)
    assert harness.state() is State.CLOSED


def test_ramp_ends_after_the_window_without_traffic() -> None:
    harness = Harness(concurrency=50).opened()
    assert not harness.breaker.ramp_ends_ms
    harness.probe(Outcome.DELIVERED)
    assert harness.breaker.ramp_ends_ms == harness.now + 10 * SECOND
    harness.breaker.tick(harness.now + 9 * SECOND)
    assert harness.state() is State.RAMPING
    harness.breaker.tick(harness.now + 10 * SECOND)
    assert (harness.state(), harness.breaker.open_state) == (State.CLOSED, None)


def test_two_consecutive_failures_end_the_ramp() -> None:
    harness = Harness(concurrency=50).opened()
    harness.probe(Outcome.FAILED)
    harness.probe(Outcome.DELIVERED)
    harness.record(Outcome.FAILED, "poison")
    harness.record(Outcome.FAILED, "poison")
    assert harness.state() is State.RAMPING
    harness.now += SECOND
    harness.record(Outcome.FAILED)
    assert harness.state() is State.OPEN
    assert (harness.open_state.probes, harness.open_state.probe_ms - harness.now) == (2, 4 * SECOND)


def test_state_survives_a_restart() -> None:
    open_state = OpenBreaker(T, T + 30 * SECOND, 5, "timed_out: ")
    assert OpenBreaker.decode(open_state.encode()) == open_state
    assert OpenBreaker.decode(None) is None
    harness = Harness(open_state=open_state)
    assert (harness.state(), harness.max_in_flight) == (State.OPEN, 0)
    harness.probe(Outcome.FAILED)
    assert harness.open_state.probes == 6


@quick
@given(st.lists(st.tuples(st.sampled_from(Outcome), st.integers(0, 5), st.integers(0, 5000)), max_size=200))
def test_always_allows_a_delivery_within_the_maximum_wait(
    course: list[tuple[Outcome, int, int]],
) -> None:
    harness = Harness(concurrency=3)
    for outcome, name, ms in course:
        harness.now += ms
        if harness.max_in_flight:
            harness.record(outcome, name)
        assert 0 <= harness.max_in_flight <= 3
        assert harness.breaker.most_in_flight(harness.now + 61 * SECOND) >= 1
        assert (harness.breaker.open_state is None) == (harness.state() is State.CLOSED)
