"""The span of a webhook, on both ways of a request."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp

from relay.process.telemetry.context import Stage, span_id_of
from relay.process.telemetry.spans import Link, Sampling
from tests.building import LINE, body_of, signed
from tests.collectors import ListTracer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support import Clock
    from tests.web.conftest import Running

TRACE = "6b1f0c9d2a7e4583b0d4e1f29a8c7d35"


@asynccontextmanager
async def traced(ingress: Running, way: str, tracer: ListTracer) -> AsyncIterator[aiohttp.ClientSession]:
    """Run the same ingress with a tracer, on a port of its own."""
    running = replace(ingress, parts=replace(ingress.parts, tracer=tracer))
    async with running.listening(way) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        yield http


async def test_webhook_has_a_span_and_a_repeat_another(ingress: Running, clock: Clock, way: str) -> None:
    tracer, body = ListTracer(), body_of(event_id="e1")
    header = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    async with traced(ingress, way, tracer) as http:
        for more in (header, {"traceparent": "00-1"}):
            answer = await http.post(
                "/webhooks/linq?line=16465550123", data=body, headers=signed(body, clock.now) | more
            )
            assert answer.status == 200
        answer = await http.post("/webhooks/linq?line=16465550123", data=body, headers={"webhook-id": "e2"})
        assert answer.status == 401  # and no span: nothing is known of its sender
    first, repeat = tracer.spans
    assert (first.trace_id, first.id, first.parent) == (TRACE, span_id_of(Stage.ACCEPT, "e1"), None)
    assert first.link == Link("0af7651916cd43dd8448eb211c80319c", 0xB7AD6B7169203331, 1)
    assert (repeat.trace_id, repeat.id, repeat.link) == (TRACE, 7, None)
    assert first.attributes["relay.line"] == LINE
    assert first.attributes["http.response.status_code"] == 200
    assert first.error is None


async def test_webhook_that_is_not_stored_has_a_failed_span(ingress: Running, clock: Clock, way: str) -> None:
    tracer, body = ListTracer(), body_of(event_id="e1")
    ingress.parts.memory.refusal = "Redis is nearly full"
    async with traced(ingress, way, tracer) as http:
        answer = await http.post("/webhooks/linq?line=16465550123", data=body, headers=signed(body, clock.now))
    [span] = tracer.spans
    assert (answer.status, span.attributes["http.response.status_code"]) == (503, 503)
    assert (span.id, span.error) == (7, "store_unavailable")


async def test_event_outside_the_sample_has_no_span(ingress: Running, clock: Clock, way: str) -> None:
    tracer, body = ListTracer(Sampling(0)), body_of(event_id="e1")
    async with traced(ingress, way, tracer) as http:
        await http.post("/webhooks/linq?line=16465550123", data=body, headers=signed(body, clock.now))
    assert tracer.spans == []
