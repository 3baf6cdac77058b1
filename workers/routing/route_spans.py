"""The spans of routed events: each from the decoding of its batch until its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.process.telemetry.context import Stage, span_id_of, trace_id_of
from relay.process.telemetry.spans import INBOX, SYSTEM, Kind, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.core.event import Event
    from relay.process.telemetry.spans import Tracer, Value

_COMMON = {
    "messaging.system": SYSTEM,
    "messaging.destination.name": INBOX,
    "messaging.operation.name": "route",
    "messaging.operation.type": "process",
}


class Routed(NamedTuple):
    """An event of a sampled trace, with the topics that it matches."""

    event: Event
    trace_id: str
    topics: Sequence[str]


class RouteSpans:
    """The spans of a router."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def sampled(self, events: Iterable[tuple[Event, Sequence[str]]]) -> list[Routed]:
        """Return what `record` needs of the events in sampled traces."""
        traced = (Routed(event, trace_id_of(event.trace_id, event.id), topics) for event, topics in events)
        return [routed for routed in traced if self._tracer.is_sampled(routed.trace_id)]

    def record(self, batch: Sequence[Routed], began: float, ended: float) -> None:
        """Record the events of a batch that was committed; Unix seconds."""
        for event, trace_id, topics in batch:
            attributes: dict[str, Value] = {
                **_COMMON,
                "messaging.batch.message_count": len(batch),
                "messaging.message.id": event.id,
                "relay.event.type": event.type,
                "relay.topics": topics,
            }
            if event.line:
                attributes["relay.line"] = event.line
            span_id, parent = span_id_of(Stage.ROUTE, event.id), span_id_of(Stage.ACCEPT, event.id)
            self._tracer.record(Span("route inbox", Kind.CONSUMER, trace_id, span_id, parent, began, ended, attributes))
