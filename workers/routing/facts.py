"""The router's reader of bodies for conditions, and what becomes of an expression that has no result."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from relay.linq.payloads.content import BodyContent
from relay.process.telemetry.context import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.event import Event
    from relay.metrics.worker_metrics import WorkerMetrics

_LOGGED_EVERY = 60.0  # seconds, for each topic
_NOTE = "the event is not in this topic; others get it: try the expression with relay explain, and correct `where`"

log = structlog.get_logger()


class BodyFacts:
    """Reads bodies, counts expressions without a result, and logs one a minute of each topic."""

    def __init__(self, metrics: WorkerMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._metrics = metrics
        self._clock = clock
        self._logged: dict[str, float] = {}
        self._unlogged: Counter[str] = Counter()

    def read(self, _: Event, body: bytes) -> BodyContent:
        """Return the content of an event; it is parsed when a condition asks for it."""
        return BodyContent(body)

    def undecided(self, topic: str, event: Event, reason: str) -> None:
        """Count an expression without a result, and log the first of a minute."""
        self._metrics.where_failed(topic)
        now = self._clock()
        if now - self._logged.get(topic, -_LOGGED_EVERY) < _LOGGED_EVERY:
            self._unlogged[topic] += 1
            return
        self._logged[topic] = now
        log.warning(
            "topic.where_failed",
            topic=topic,
            id=event.id,
            type=event.type,
            trace_id=trace_id_of(event.trace_id, event.id),
            reason=reason,
            more_since_last=self._unlogged.pop(topic, 0),
            note=_NOTE,
        )
