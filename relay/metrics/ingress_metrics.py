"""The metrics of an ingress: what it accepted, quarantined and refused, and how long acceptance took."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from relay.core.event import Dialect
from relay.metrics import declared

if TYPE_CHECKING:
    from collections.abc import Sized

    from relay.metrics.process_metrics import ProcessMetrics


class IngressMetrics:
    """The counts of an ingress process."""

    def __init__(self, process: ProcessMetrics) -> None:
        self.process = process
        self._duration = process.durations(declared.ACCEPT_DURATION)
        accepted, repeated = process.counter(declared.EVENTS_ACCEPTED), process.counter(declared.EVENTS_REPEATED)
        self._quarantined = process.counter(declared.EVENTS_QUARANTINED)
        self._refused = process.counter(declared.REQUESTS_REFUSED)
        self._refusals: Tally[tuple[str, str]] = Tally()
        self._v3_new: list[float] = []
        self._v3_repeated: list[float] = []
        self._v2_new: list[float] = []
        self._v2_repeated: list[float] = []
        self._answered = (
            (accepted.labels(Dialect.V3), self._v3_new),
            (repeated.labels(Dialect.V3), self._v3_repeated),
            (accepted.labels(Dialect.V2), self._v2_new),
            (repeated.labels(Dialect.V2), self._v2_repeated),
        )
        for dialect in Dialect:
            self._quarantined.labels(dialect)  # 0 from the beginning, so that a rate sees the first one
        self._open: list[Sized] = []
        process.watch(declared.CONNECTIONS, lambda: sum(map(len, self._open)))
        process.on_flush(self._flush)

    def count_connections(self, connections: Sized) -> None:
        """Count the open connections of a listener from now on."""
        self._open.append(connections)

    def accepted(self, dialect: Dialect, seconds: float, *, is_new: bool) -> None:
        """Count an event that is durable, `seconds` after its last byte came."""
        if dialect is Dialect.V3:
            (self._v3_new if is_new else self._v3_repeated).append(seconds)
        else:
            (self._v2_new if is_new else self._v2_repeated).append(seconds)

    def quarantined(self, dialect: Dialect) -> None:
        """Count a webhook that could not be parsed."""
        self._quarantined.labels(dialect).inc()

    def refused(self, status: int | None, code: str) -> None:
        """Count a request that was not accepted; `status` is None if the sender disconnected before a response."""
        self._refusals["none" if status is None else str(status), code] += 1

    def _flush(self) -> None:
        for counter, seconds in self._answered:
            counter.inc(len(seconds))
            self._duration.observe_all(seconds)
        refusals, self._refusals = self._refusals, Tally()
        for (status, code), count in refusals.items():
            self._refused.labels(status, code).inc(count)
