from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest

from relay.metrics import declared
from relay.metrics.declared import METRICS
from relay.metrics.labels import LABELS
from relay.metrics.metric import Kind
from relay.metrics.process_metrics import Durations, ProcessMetrics
from relay.process.build import revision
from relay.process.supervisor import SHARED_FOLDER, forget_process
from tests.metrics.scrapes import scraped, series_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WORKER = """
import asyncio, os, sys
from relay.core.delivery.outcome import Attempt, Outcome
from relay.metrics.process_metrics import ProcessMetrics
from relay.metrics.worker_metrics import WorkerMetrics

async def main():
    async with ProcessMetrics("worker") as process:
        metrics = WorkerMetrics(process, lambda: {"crm", "bot"})
        for name in ("crm", "removed"):
            lane = metrics.lane(name)
            with lane.delivering([1, 2]):
                lane.attempted(Attempt(Outcome.DELIVERED, 0, 20))
                metrics.certificate(name, float(sys.argv[1]))
                process.flush()
        process.flush()
        with metrics.lane("bot").delivering([1]):
            body = await process.exposition()
            print(body.decode(), flush=True)
            os._exit(0)  # as if it were killed: what was in flight stays in its file

asyncio.run(main())
"""


def test_names_labels_and_types_follow_the_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 40
    for metric in METRICS:
        assert re.fullmatch(r"relay_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert {label for metric in METRICS for label in metric.labels} == LABELS.keys()


def test_durations_are_counted_as_the_library_counts_them() -> None:
    disable_created_metrics()
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    buckets = declared.ACCEPT_DURATION.buckets
    many = Durations("d", "", registry=ours, buckets=buckets)
    one_by_one = Histogram("d", "", registry=theirs, buckets=buckets)
    seconds = [0.0, 0.0005, 0.001, 0.0011, 0.0025, 0.25, 2.5, 2.6, 100.0]
    for duration in seconds:
        one_by_one.observe(duration)
    many.observe_all(seconds)
    assert seconds == []
    assert generate_latest(ours) == generate_latest(theirs)


async def test_series_of_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_REVISION", "abc123")
    revision.cache_clear()

    async def is_ready() -> bool:
        return False

    async with ProcessMetrics("ingress") as metrics:
        metrics.watch_ready(is_ready)
        found = await scraped(metrics)
    revision.cache_clear()
    [info] = [name for name in found if name.startswith("relay_build_info")]
    assert 'revision="abc123",role="ingress",version="' in info
    assert found["relay_ready"] == 0
    assert found.keys() >= {'relay_log_events_total{level="warning"}', 'relay_log_events_total{level="error"}'}


def worker(folder: Path, expires: int) -> tuple[int, str]:
    """Run a worker that shares its metrics; return its process id and its text."""
    with subprocess.Popen(  # noqa: S603  ours
        [sys.executable, "-c", WORKER, str(expires)],
        env={**os.environ, SHARED_FOLDER: str(folder), "RELAY_REVISION": "abc123"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        return process.pid, process.stdout.read()


def test_processes_of_one_port_answer_for_one_another(tmp_path: Path) -> None:
    delivered = 'relay_delivery_attempts_total{outcome="delivered",subscription="crm"}'
    in_flight = 'relay_deliveries_in_flight{subscription="bot"}'
    expiry = 'relay_subscriber_certificate_expiry_timestamp_seconds{subscription="crm"}'
    first, text = worker(tmp_path, 2000)
    assert [series_of(text)[name] for name in (delivered, in_flight, expiry)] == [1, 1, 2000]
    _, text = worker(tmp_path, 1000)
    found = series_of(text)
    assert [found[name] for name in (delivered, in_flight, expiry)] == [2, 2, 1000]
    assert not [name for name in found if "removed" in name]
    forget_process(tmp_path, first)
    found = series_of(worker(tmp_path, 1000)[1])
    assert (found[delivered], found[in_flight]) == (3, 2)
    assert found['relay_build_info{revision="abc123",role="worker",version="0.2.0"}'] == 1
