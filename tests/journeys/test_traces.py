"""Traces and errors of real processes, received by a real OTLP collector and a real endpoint for errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.process.telemetry.context import Stage, span_id_of
from relay.sandbox.app import Emission
from tests.collectors import collector, error_tracker
from tests.journeys.conftest import LINES
from tests.support import eventually

if TYPE_CHECKING:
    from tests.collectors import Collector
    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]  # seconds, also on a busy machine

SERVER, CLIENT, CONSUMER = 2, 3, 5  # SpanKind in opentelemetry-proto


async def start(service: Service, otlp: Collector, **variables: str) -> None:
    service.environment.update(OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url, OTEL_BSP_SCHEDULE_DELAY="60000", **variables)
    await service.bootstrap()
    await service.start("ingress")
    await service.start(module="workers")
    await eventually(service.is_ready)
    await eventually(lambda: service.logged("worker.started"))


async def test_trace_of_an_event_from_linq_to_each_attempt(service: Service) -> None:
    async def fail_once(received: Received) -> web.Response:
        is_first = received.headers["relay-attempt"] == "1" and received.path == "/bot"
        return web.Response(status=500 if is_first else 204, text="a text about +13035550188" if is_first else None)

    service.sink.answer = fail_once
    async with collector() as otlp, error_tracker() as errors:
        await start(service, otlp, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test", SENTRY_DSN=errors.dsn)
        event_id = service.sandbox.emit(Emission(type="message.received", line=LINES[0]))[0]
        await eventually(lambda: len(service.sink.received) == 3)
        await service.end()  # nothing is sent before, since the delay is long
        spans = {span.name for span in otlp.spans}
        assert spans == {"accept inbox", "route inbox", "attempt messages", "attempt everything"}
        bodies = b"".join(otlp.bodies)
        assert errors.events == []
    [accept], [route] = otlp.named("accept"), otlp.named("route")
    attempts = otlp.named("attempt")
    body = json.loads(service.sink.received[0].body)
    assert {span.trace_id for span in otlp.spans} == {body["trace_id"]}
    assert accept.parent == ""
    assert accept.span_id == route.parent == f"{span_id_of(Stage.ACCEPT, event_id):016x}"
    assert {attempt.parent for attempt in attempts} == {route.span_id}
    assert [accept.kind, route.kind, attempts[0].kind] == [SERVER, CONSUMER, CLIENT]
    assert accept.began <= accept.ended <= route.ended <= attempts[-1].ended
    posts = {(post.path, post.headers["relay-attempt"]): post.headers["traceparent"] for post in service.sink.received}
    by_attempt = {
        (f"/{span.attributes['messaging.consumer.group.name']}", str(span.attributes["relay.attempt"])): span
        for span in attempts
    }
    assert posts == {key: f"00-{span.trace_id}-{span.span_id}-01" for key, span in by_attempt.items()}
    failed, retried = by_attempt["/bot", "1"], by_attempt["/bot", "2"]
    assert (failed.is_error, failed.attributes["error.type"], failed.attributes["relay.outcome"]) == (
        True,
        "500",
        "failed",
    )
    assert (retried.is_error, retried.attributes["http.request.resend_count"]) == (False, 1)
    assert route.attributes["relay.topics"] == ["messages", "everything"]
    for span in otlp.spans:
        assert span.attributes["messaging.message.id"] == event_id
        assert span.resource["service.name"] == "linq-relay"
        assert span.resource["deployment.environment.name"] == "test"
    assert {span.resource["relay.role"] for span in otlp.spans} == {"ingress", "worker"}
    assert b"+1303" not in bodies  # a customer's number
    assert body["data"]["parts"][0]["value"].encode() not in bodies
    logged = [json.loads(line) for line in service.log.read_text().splitlines()]
    about = [line for line in logged if line.get("id") == event_id]
    assert {line["event"] for line in about} == {"event.accepted", "delivery.attempted"}
    assert {line["trace_id"] for line in about} == {body["trace_id"]}
