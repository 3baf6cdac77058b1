"""The spans of attempts: what they say of a subscriber, and what they keep to themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.process.telemetry.context import Stage, span_id_of
from relay.process.telemetry.spans import Sampling
from tests.collectors import ListTracer
from tests.workers.transport.test_sender import ENDPOINT, attempted, delivery, subscription
from workers.transport.pool import ConnectionPools
from workers.transport.sender import Sender

if TYPE_CHECKING:
    from tests.workers.conftest import Sink

TRACE = "6b1f0c9d2a7e4583b0d4e1f29a8c7d35"


async def test_attempt_has_a_span_and_its_request_a_traceparent(sink: Sink) -> None:
    tracer = ListTracer()
    async with ConnectionPools() as connections:
        lane = Sender(connections, time.time, tracer).sender_for(
            subscription(f"http://user:hunter2@127.0.0.1:{sink.port}/hook?token=hunter2"), ENDPOINT
        )
        attempted(await lane.attempt(delivery(b'{"text": "private"}', trace=TRACE), 2))
    [span], [received] = tracer.spans, sink.received
    assert received.headers["traceparent"] == f"00-{TRACE}-{7:016x}-01"
    assert (span.trace_id, span.id, span.parent) == (TRACE, 7, span_id_of(Stage.ROUTE, "e1"))
    assert span.attributes["url.full"] == f"http://***@127.0.0.1:{sink.port}/hook?token=***"
    assert span.attributes["server.port"] == sink.port
    assert span.attributes["http.request.resend_count"] == 1
    assert "hunter2" not in str(span)
    assert "private" not in str(span)


async def test_attempt_that_fails_says_how(sink: Sink) -> None:
    tracer = ListTracer()
    async with ConnectionPools() as connections:
        sender = Sender(connections, time.time, tracer)
        for url in ("http://127.0.0.1:1/", "http://a..b/"):
            attempted(await sender.sender_for(subscription(url), ENDPOINT).attempt(delivery(b"{}"), 1))
    assert [span.error for span in tracer.spans] == ["unreachable", "failed"]
    assert "server.address" not in tracer.spans[1].attributes
    assert sink.received == []


async def test_attempt_outside_the_sample_has_a_traceparent_only(sink: Sink) -> None:
    tracer = ListTracer(Sampling(0))
    async with ConnectionPools() as connections:
        lane = Sender(connections, time.time, tracer).sender_for(subscription(f"{sink.url}/"), ENDPOINT)
        attempted(await lane.attempt(delivery(b"{}", trace=TRACE), 1))
    assert tracer.spans == []
    assert sink.received[0].headers["traceparent"].endswith("-00")
