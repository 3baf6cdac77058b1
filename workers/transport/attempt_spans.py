"""The spans of attempts, and the `traceparent` of their requests.

Each attempt is a child of the event's `route` span, so the retries of a delivery are siblings. A subscriber that
continues the trace is a child of the attempt that reached it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from relay.core.delivery.outcome import Outcome
from relay.core.net.masked_url import masked_url
from relay.net.target import Target
from relay.process.telemetry.context import Stage, span_id_of, trace_id_of, traceparent_of
from relay.process.telemetry.spans import SYSTEM, Kind, Span

if TYPE_CHECKING:
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.outcome import Attempt
    from relay.process.telemetry.spans import Tracer, Value
    from relay.store.lanes.delivery import Delivery


class AttemptContext(NamedTuple):
    """The trace context of an attempt."""

    trace_id: str
    span_id: int
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """The value of the header `traceparent`."""
        return traceparent_of(self.trace_id, self.span_id, sampled=self.is_sampled)


class AttemptSpans:
    """The spans of one lane."""

    def __init__(self, tracer: Tracer, subscription: Subscription) -> None:
        self._tracer = tracer
        self._common: dict[str, Value] = {
            "http.request.method": "POST",
            "url.full": masked_url(subscription.url),
            "messaging.system": SYSTEM,
            "messaging.operation.name": "attempt",
            "messaging.operation.type": "send",
            "messaging.consumer.group.name": subscription.name,
        }
        with suppress(ValueError):  # no request can be sent to it
            target = Target.from_url(subscription.url)
            self._common |= {"server.address": target.host, "server.port": target.port}

    def begin(self, delivery: Delivery) -> AttemptContext:
        """Return the context of a new attempt of `delivery`."""
        trace_id = trace_id_of(delivery.record.trace, delivery.record.id)
        return AttemptContext(trace_id, self._tracer.new_span_id(), self._tracer.is_sampled(trace_id))

    def end(self, context: AttemptContext, delivery: Delivery, number: int, attempt: Attempt) -> None:
        """Record an attempt that has ended."""
        if not context.is_sampled:
            return
        record = delivery.record
        attributes: dict[str, Value] = {
            **self._common,
            "messaging.destination.name": delivery.topic,
            "messaging.message.id": record.id,
            "messaging.message.body.size": len(record.body),
            "relay.event.type": record.type,
            "relay.attempt": number,
            "relay.outcome": attempt.outcome.value,
        }
        if record.line:
            attributes["relay.line"] = record.line
        if number > 1:
            attributes["http.request.resend_count"] = number - 1
        if delivery.is_replay:
            attributes["relay.replay"] = True
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        error = None
        if attempt.outcome is not Outcome.DELIVERED:
            error = attempt.outcome.value if attempt.status is None else str(attempt.status)
        began = attempt.at_ms / 1000
        self._tracer.record(
            Span(
                f"attempt {delivery.topic}",
                Kind.CLIENT,
                context.trace_id,
                context.span_id,
                span_id_of(Stage.ROUTE, record.id),
                began,
                began + attempt.took_ms / 1000,
                attributes,
                error,
            )
        )
