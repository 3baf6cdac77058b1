"""Real receivers for what the relay sends about itself: an OTLP collector, and the endpoint of an error tracker."""

from __future__ import annotations

import gzip
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.process.telemetry.spans import Sampling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    from relay.process.telemetry.spans import Span


class ReceivedSpan(NamedTuple):
    """A span as it arrived."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    links: list[tuple[str, str]]
    is_error: bool
    began: int
    ended: int


@dataclass(slots=True)
class Collector:
    """An OTLP receiver over HTTP."""

    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200

    def named(self, prefix: str) -> list[ReceivedSpan]:
        """Return the spans with names that begin so, by their beginning."""
        return sorted((span for span in self.spans if span.name.startswith(prefix)), key=lambda span: span.began)

    async def receive(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        if self.status != 200:
            return web.Response(status=self.status)
        self.bodies.append(body)
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(resource_spans.resource.attributes)
            for scope in resource_spans.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        ReceivedSpan(
                            span.name,
                            span.kind,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            _values(span.attributes),
                            resource,
                            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                            span.status.code == span.status.STATUS_CODE_ERROR,
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                        )
                    )
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _values(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind or "string_value")


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run an OTLP receiver."""
    found = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", found.receive)
    async with listening(app, Listen(host="127.0.0.1", port=0)) as port:
        found.url = f"http://127.0.0.1:{port}"
        yield found


@dataclass(slots=True)
class ListTracer:
    """A tracer that keeps its spans."""

    sampling: Sampling = field(default_factory=lambda: Sampling(1))
    spans: list[Span] = field(default_factory=list)

    def is_sampled(self, trace_id: str) -> bool:
        return self.sampling.takes(trace_id)

    def new_span_id(self) -> int:
        return 7

    def record(self, span: Span) -> None:
        self.spans.append(span)


@dataclass(slots=True)
class ErrorTracker:
    """The endpoint of Sentry for one project."""

    dsn: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        """Take an envelope: a line of headers, then for each item a line of headers and its payload.

        https://develop.sentry.dev/sdk/data-model/envelopes/
        """
        raw = await request.read()
        body = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        self.bodies.append(body)
        _, _, rest = body.partition(b"\n")
        while rest.strip():
            head, _, rest = rest.partition(b"\n")
            header = json.loads(head)
            length = header.get("length", len(rest))
            payload, rest = rest[:length], rest[length:].lstrip(b"\n")
            if header["type"] == "event":
                self.events.append(json.loads(payload))
        return web.json_response({"id": "0"})


@asynccontextmanager
async def error_tracker() -> AsyncIterator[ErrorTracker]:
    """Run an endpoint for errors."""
    found = ErrorTracker()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/api/7/envelope/", found.receive)
    async with listening(app, Listen(host="127.0.0.1", port=0)) as port:
        found.dsn = f"http://public@127.0.0.1:{port}/7"
        yield found
