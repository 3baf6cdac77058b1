"""The tracer: what it sends to a collector, and what a collector that is away costs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from relay.process.telemetry import otlp
from relay.process.telemetry.opening import traces
from relay.process.telemetry.spans import Kind, Link, Span
from tests.collectors import collector
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from relay.process.telemetry.spans import Tracer

TRACE = "6b1f0c9d2a7e4583b0d4e1f29a8c7d35"


@pytest.fixture(autouse=True)
def quick_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a batch after 10 ms, give a collector 200; and undo what `traces` adds to the environment."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")


def span(number: int = 1, **more: Any) -> Span:
    return Span(f"span {number}", Kind.SERVER, TRACE, number, None, 5.0, 6.5, {"a": "b"})._replace(**more)


async def close_after(tracing: object, tracer: Tracer, *spans: Span) -> None:
    for each in spans:
        tracer.record(each)
    await asyncio.to_thread(tracing.__exit__, None, None, None)  # type: ignore[attr-defined]


async def test_spans_arrive_with_parent_link_and_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as otlp:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "OTEL_TRACES_SAMPLER": "traceidratio"}
        tracing = traces(variables, "ingress")
        tracer = tracing.__enter__()
        assert tracer is not None
        assert tracer.is_sampled(TRACE)
        failed = span(2, parent=1, error="503", link=Link("ab" * 16, 9, 1))
        await close_after(tracing, tracer, span(), failed)
    first, second = sorted(otlp.spans)
    assert (first.trace_id, first.span_id, first.parent, first.is_error) == (TRACE, f"{1:016x}", "", False)
    assert (first.began, first.ended, first.attributes) == (5_000_000_000, 6_500_000_000, {"a": "b"})
    assert (second.parent, second.is_error, second.attributes["error.type"]) == (first.span_id, True, "503")
    assert second.links == [("ab" * 16, f"{9:016x}")]
    assert first.resource["service.name"] == "linq-relay"


async def test_collector_that_is_away_costs_one_log_line(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector() as otlp:
        otlp.status = 400  # final, so that the SDK does not retry
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
        tracing = traces({"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}, "worker")
        tracer = tracing.__enter__()
        assert tracer is not None
        with capture_logs() as logs:
            for number in range(1, 4):
                for _ in range(1000):
                    tracer.record(span(number))
                await eventually(lambda: any(line["event"] == "traces.not_sent" for line in logs))
            otlp.status = 200
            tracer.record(span(4))
            await eventually(lambda: any(line["event"] == "traces.resumed" for line in logs))
            await close_after(tracing, tracer)
    assert [line["event"] for line in logs] == ["traces.not_sent", "traces.resumed"]
    assert logs[0]["endpoint"] == otlp.url


async def test_end_does_not_wait_long_for_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{reserve_port()}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    flush = otlp._FLUSH
    monkeypatch.setattr(otlp, "_FLUSH", 0.1)
    tracing = traces({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, "worker")
    tracer = tracing.__enter__()
    assert tracer is not None
    began = time.monotonic()
    with capture_logs():
        await close_after(tracing, tracer, span())
    assert time.monotonic() - began < flush - 1


def test_nothing_is_imported_while_traces_and_errors_are_off() -> None:
    program = (
        "import sys, relay.web.server, workers.runtime.runner\n"
        "from relay.process.telemetry.opening import telemetry\n"
        "with telemetry({'OTEL_SERVICE_NAME': 'relay', 'OTEL_TRACES_SAMPLER': 'always_on'}, 'worker') as tracer:\n"
        "    assert tracer is None\n"
        "print({'opentelemetry', 'sentry_sdk', 'requests', 'google.protobuf'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=100)  # noqa: S603  our own program
    assert done.stdout == "set()\n"
