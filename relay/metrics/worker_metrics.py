"""The metrics of a worker: what it routed, and for each subscription its attempts, their durations and the certificate.

A lane appends its attempts to a list. The series of a subscription begin with its first attempt and end when it is no
longer in relay.toml. Once a second only lanes with attempts or a worker are looked at: 1,000 at rest took 3 ms each.
"""

from __future__ import annotations

from collections import Counter as Tally
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from relay.core.event import Dialect
from relay.metrics import declared
from relay.metrics.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sized

    from relay.core.delivery.outcome import Attempt, Outcome


class LaneMetrics:
    """The counts of one subscription."""

    def __init__(self, name: str, busy: set[str]) -> None:
        """`busy` gets the name when there is something to write."""
        self._name = name
        self._busy = busy
        self.attempts: list[tuple[Outcome, int]] = []
        """Outcome and milliseconds of the attempts since they were written last."""
        self.in_flight: list[Sized] = []
        """The deliveries in flight, of each worker of the lane: a former one may still be ending."""
        self.shown: int | None = None
        """The number of them that was written last."""

    def attempted(self, attempt: Attempt) -> None:
        """Count an attempt."""
        if not self.attempts:
            self._busy.add(self._name)
        self.attempts.append((attempt.outcome, attempt.took_ms))

    @contextmanager
    def delivering(self, in_flight: Sized) -> Iterator[None]:
        """Count what is in flight while the context is open."""
        self.in_flight.append(in_flight)
        self._busy.add(self._name)
        try:
            yield
        finally:
            self.in_flight = [other for other in self.in_flight if other is not in_flight]


class WorkerMetrics:
    """The counts of a worker process."""

    def __init__(self, process: ProcessMetrics, subscriptions: Callable[[], Collection[str]]) -> None:
        """`subscriptions` returns the names in relay.toml."""
        self.process = process
        self._subscriptions = subscriptions
        self._routed = process.counter(declared.EVENTS_ROUTED)
        self._unmatched = process.counter(declared.EVENTS_UNMATCHED)
        self._quarantined = process.counter(declared.EVENTS_QUARANTINED)
        for dialect in Dialect:
            self._quarantined.labels(dialect)  # 0 from the beginning, so that a rate sees the first one
        self._where_failed = process.counter(declared.TOPIC_WHERE_FAILED)
        self._attempts = process.counter(declared.DELIVERY_ATTEMPTS)
        self._durations = process.durations(declared.DELIVERY_ATTEMPT_DURATION)
        self._in_flight = process.gauge(declared.DELIVERIES_IN_FLIGHT)
        self._certificates = process.gauge(declared.SUBSCRIBER_CERTIFICATE_EXPIRY)
        self._lanes: dict[str, LaneMetrics] = {}
        self._busy: set[str] = set()
        """Lanes that may have something to write: attempts, or deliveries in flight."""
        self._current: Collection[str] = ()
        self._leaving: set[str] = set()
        """Lanes that are perhaps not in relay.toml any more, and are forgotten once nothing of them is in flight."""
        self._outcomes: dict[str, set[Outcome]] = {}
        process.on_flush(self._flush)
        process.show_only("subscription", subscriptions)

    @classmethod
    def unscraped(cls) -> Self:
        """Return metrics that no process serves."""
        return cls(ProcessMetrics("worker"), frozenset)

    def lane(self, subscription: str) -> LaneMetrics:
        """Return the counts of a subscription."""
        if subscription not in self._lanes:
            self._lanes[subscription] = LaneMetrics(subscription, self._busy)
            self._leaving.add(subscription)
        return self._lanes[subscription]

    def routed(self, routed: int, unmatched: int) -> None:
        """Count a batch of events that left the inbox."""
        if routed:
            self._routed.inc(routed)
        if unmatched:
            self._unmatched.inc(unmatched)

    def quarantined(self, dialect: Dialect) -> None:
        """Count an event that could not be decoded."""
        self._quarantined.labels(dialect).inc()

    def where_failed(self, topic: str) -> None:
        """Count an event for which the expression of a topic has no result."""
        self._where_failed.labels(topic).inc()

    def certificate(self, subscription: str, expires: float) -> None:
        """Keep the end (Unix seconds) of the certificate that a subscriber's server has shown."""
        self._certificates.labels(subscription).set(expires)

    def _flush(self) -> None:
        for name in list(self._busy):
            lane = self._lanes.get(name)
            if lane is None:  # a former worker of a lane that is forgotten
                self._busy.discard(name)
                continue
            if lane.attempts:
                self._write(name, lane)
            in_flight = sum(map(len, lane.in_flight))
            if in_flight != lane.shown:
                lane.shown = in_flight
                self._in_flight.labels(name).set(in_flight)
            if not lane.in_flight:
                self._busy.discard(name)
        self._forget_removed()

    def _forget_removed(self) -> None:
        """Forget the lanes that are not in relay.toml any more, once nothing of them is in flight."""
        current = self._subscriptions()
        if current is not self._current:  # it is another object after every change
            self._current = current
            self._leaving |= self._lanes.keys() - current
        for name in list(self._leaving):
            if name in current:
                self._leaving.discard(name)
            elif not self._lanes[name].in_flight:
                self._leaving.discard(name)
                self._busy.discard(name)
                self._forget(name)

    def _write(self, name: str, lane: LaneMetrics) -> None:
        attempts, lane.attempts = lane.attempts, []
        for outcome, count in Tally(outcome for outcome, _ in attempts).items():
            self._attempts.labels(name, outcome).inc(count)
            self._outcomes.setdefault(name, set()).add(outcome)
        self._durations.labels(name).observe_all([took_ms / 1000 for _, took_ms in attempts])

    def _forget(self, name: str) -> None:
        """Remove the series of a subscription that is not in relay.toml any more."""
        del self._lanes[name]
        outcomes = self._outcomes.pop(name, set())
        if self.process.is_shared:
            return  # the library cannot remove series of shared metrics; they are not shown (`show_only`)
        for outcome in outcomes:
            self._attempts.remove(name, outcome)
        for metric in (self._durations, self._in_flight, self._certificates):
            metric.remove(name)
