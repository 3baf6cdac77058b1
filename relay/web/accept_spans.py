"""The span of a webhook from its arrival until it is durable: the first that the relay records of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Dialect
from relay.linq.target_urls import V2_PATH, V3_PATH
from relay.process.telemetry.context import TRACEPARENT, Stage, parse_traceparent, span_id_of, trace_id_of
from relay.process.telemetry.spans import INBOX, SYSTEM, Kind, Link, Span

if TYPE_CHECKING:
    from relay.core.event import VerifiedWebhook
    from relay.linq.signatures.headers import Headers
    from relay.process.telemetry.spans import Tracer, Value

_COMMON = {
    "http.request.method": "POST",
    "url.scheme": "http",
    "messaging.system": SYSTEM,
    "messaging.destination.name": INBOX,
    "messaging.operation.name": "accept",
    "messaging.operation.type": "send",
}


class AcceptSpans:
    """The spans of an ingress process."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def accepted(
        self, verified: VerifiedWebhook, headers: Headers, began: float, ended: float, *, is_new: bool
    ) -> None:
        """Record a webhook that is durable, now or since an earlier request."""
        trace_id = trace_id_of(verified.trace, verified.id)
        if self._tracer.is_sampled(trace_id):
            span_id = span_id_of(Stage.ACCEPT, verified.id) if is_new else self._tracer.new_span_id()
            self._record(verified, headers, (trace_id, span_id), (began, ended), 200)

    def refused(
        self, verified: VerifiedWebhook, headers: Headers, began: float, ended: float, *, status: int, code: str
    ) -> None:
        """Record a webhook of Linq that could not be stored; Linq sends it again."""
        trace_id = trace_id_of(verified.trace, verified.id)
        if self._tracer.is_sampled(trace_id):
            self._record(verified, headers, (trace_id, self._tracer.new_span_id()), (began, ended), status, code)

    def _record(
        self,
        verified: VerifiedWebhook,
        headers: Headers,
        ids: tuple[str, int],
        times: tuple[float, float],
        status: int,
        code: str | None = None,
    ) -> None:
        attributes: dict[str, Value] = {
            **_COMMON,
            "url.path": V2_PATH if verified.dialect is Dialect.V2 else V3_PATH,
            "http.response.status_code": status,
            "messaging.message.id": verified.id,
            "messaging.message.body.size": len(verified.body),
            "relay.event.type": verified.type,
        }
        if verified.line:
            attributes["relay.line"] = verified.line
        link = _link_of(headers)
        self._tracer.record(Span("accept inbox", Kind.SERVER, *ids, None, *times, attributes, code, link))


def _link_of(headers: Headers) -> Link | None:
    """Return a link to the span of the sender, or of a proxy before the ingress, if a header names one.

    It is no parent: the header is not signed, and a proxy begins a trace of its own.
    """
    values = headers.getall(TRACEPARENT, ())
    found = parse_traceparent(values[0]) if values else None
    return Link(*found) if found else None
