"""The metrics of one process: a registry, what is written to it once a second, and its text for Prometheus.

On the path of an event nothing is looked up and nothing locked: what is counted there is appended to a list or added to
an integer (`ingress_metrics`, `worker_metrics`), and written to the registry together, once a second and when the
process is scraped. That costs 0.2 us an event, where a histogram of the library costs 0.8 us, and 2 us if it is shared.

In a group of processes a scrape reaches the supervisor. Then the library keeps the numbers of each process in files of
the folder PROMETHEUS_MULTIPROC_DIR, and the supervisor adds them up. Series of subscriptions that are gone cannot be
removed from these files: they are left out of the text.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections import Counter as Tally
from itertools import chain
from typing import TYPE_CHECKING, Protocol, Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from relay.metrics import declared
from relay.process.build import VERSION, revision
from relay.process.logs import logged
from relay.process.supervisor import SHARED_FOLDER
from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client import Metric as Family
    from prometheus_client.registry import Collector
    from prometheus_client.samples import Sample

    from relay.metrics.metric import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text; every version of Prometheus reads it."""

_INTERVAL = 1.0  # seconds


class Durations(Histogram):
    """A histogram that takes many durations at once."""

    def observe_all(self, seconds: list[float]) -> None:
        """Add `seconds`, and empty the list."""
        if not seconds:
            return
        found = Tally([bisect_left(self._upper_bounds, duration) for duration in seconds])
        self._sum.inc(sum(seconds))
        seconds.clear()
        for bucket, count in found.items():
            self._buckets[bucket].inc(count)


class Reader(Protocol):
    """A collector whose numbers are read, with awaiting, before each scrape."""

    async def read(self) -> None:
        """Read the numbers; returns in bounded time, and never fails."""

    def collect(self) -> Iterable[Family]:
        """Yield the families of what was read last."""


class ProcessMetrics:
    """The metrics of a process. Enter it as a context, in which what was counted is written once a second."""

    def __init__(self, role: str, shared_folder: Path | None = None) -> None:
        """`shared_folder` is that of the processes of which this one is the supervisor."""
        disable_created_metrics()  # a second series for each counter, for its first second
        self.registry = CollectorRegistry()
        self.is_shared = SHARED_FOLDER in os.environ
        self._shared_folder = os.environ.get(SHARED_FOLDER) or shared_folder
        self._readers: list[Reader] = []
        self._flushes: list[Callable[[], None]] = []
        self._current: dict[str, Callable[[], Collection[str] | None]] = {}
        self._ready: Gauge
        self._is_ready: Callable[[], Awaitable[bool]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._rendering = asyncio.Lock()
        if self._shared_folder is None:
            ProcessCollector(registry=self.registry)
        self.gauge(declared.BUILD_INFO).labels(VERSION, revision(), role).set(1)
        self._log_events = self.counter(declared.LOG_EVENTS)
        self._logged: Tally[str] = Tally()
        self.on_flush(self._flush_logs)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._flush_forever(), name="metrics")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        self.flush()

    def counter(self, metric: Metric) -> Counter:
        """Return the counter of a declared metric; to be called once for each."""
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def gauge(self, metric: Metric) -> Gauge:
        """Return the gauge of a declared metric."""
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry, multiprocess_mode=metric.combine)

    def durations(self, metric: Metric) -> Durations:
        """Return the histogram of a declared metric."""
        return Durations(metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets)

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Call `flush` before each scrape and once a second: it writes to the registry what was counted."""
        self._flushes.append(flush)

    def watch(self, metric: Metric, value: Callable[[], float]) -> None:
        """Set the gauge of a metric without labels to `value()`, before each scrape and once a second."""
        gauge = self.gauge(metric)
        self.on_flush(lambda: gauge.set(value()))

    def watch_ready(self, is_ready: Callable[[], Awaitable[bool]]) -> None:
        """Ask `is_ready` before each scrape; once a second where a scrape may reach another process."""
        self._ready = self.gauge(declared.READY)
        self._is_ready = is_ready

    async def _ask_ready(self) -> None:
        if self._is_ready is not None:
            self._ready.set(await self._is_ready())

    def add_reader(self, reader: Reader) -> None:
        """Add the families of `reader` to the text."""
        self._readers.append(reader)

    def show_only(self, label: str, values: Callable[[], Collection[str] | None]) -> None:
        """Leave series out of the text whose value of `label` is not among `values()`; None if these are unknown."""
        self._current[label] = values

    def flush(self) -> None:
        """Write to the registry what was counted."""
        for flush in self._flushes:
            flush()

    async def exposition(self) -> bytes:
        """Return the text for Prometheus; it is made in a thread, one at a time, so that events do not wait for it."""
        async with self._rendering:
            for reader in self._readers:
                await reader.read()
            await self._ask_ready()
            self.flush()
            return await asyncio.to_thread(self._render)

    def _render(self) -> bytes:
        whole = CollectorRegistry()
        current = {
            label: frozenset(found) for label, values in self._current.items() if (found := values()) is not None
        }
        collectors: list[Collector] = [] if self.is_shared else [self.registry]
        if self._shared_folder is not None:
            collectors.append(MultiProcessCollector(None, path=str(self._shared_folder)))
        whole.register(_Counted(collectors, current))
        for reader in self._readers:
            whole.register(reader)
        return generate_latest(whole)

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            self.flush()
            if self.is_shared:
                await self._ask_ready()

    def _flush_logs(self) -> None:
        for level, count in logged.items():
            self._log_events.labels(level).inc(count - self._logged[level])
            self._logged[level] = count


class _Counted:
    """The families of several collectors as one, without the series that are no longer current."""

    def __init__(self, collectors: Iterable[Collector], current: Mapping[str, frozenset[str]]) -> None:
        self._collectors = collectors
        self._current = current

    def describe(self) -> list[Family]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield each family once; values of the same series are added up."""
        families: dict[str, Family] = {}
        for family in chain.from_iterable(collector.collect() for collector in self._collectors):
            for label, values in self._current.items():
                if any(label in row.labels for row in family.samples[:1]):
                    family.samples = [row for row in family.samples if row.labels[label] in values]
            former = families.setdefault(family.name, family)
            if former is not family:
                former.samples = _added(former.samples, family.samples)
        yield from families.values()


def _added(samples: Iterable[Sample], others: Iterable[Sample]) -> list[Sample]:
    found: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}
    for sample in chain(samples, others):
        key = sample.name, frozenset(sample.labels.items())
        former = found.get(key)
        found[key] = sample if former is None else sample._replace(value=former.value + sample.value)
    return list(found.values())
