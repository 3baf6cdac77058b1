"""A scrape as tests read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from relay.metrics.process_metrics import ProcessMetrics
from relay.metrics.worker_metrics import WorkerMetrics
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.config.file import ConfigFile

Series = dict[str, float]
"""Values by name and labels, as Prometheus writes them: `relay_ready`, `relay_log_events_total{level="error"}`."""


def series_of(text: str) -> Series:
    """Return the relay's series in the text for Prometheus; those of a histogram without its buckets."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("relay_") and not sample.name.endswith("_bucket"):
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def scraped(metrics: ProcessMetrics) -> Series:
    """Return the relay's series of a process."""
    return series_of((await metrics.exposition()).decode())


async def until(metrics: ProcessMetrics, expected: Mapping[str, float]) -> None:
    """Wait until a scrape has these values; names are without `relay_`."""

    async def is_there() -> bool:
        found = await scraped(metrics)
        return {name: found.get(f"relay_{name}") for name in expected} == expected

    await eventually(is_there)


def worker_metrics(rules: ConfigFile) -> WorkerMetrics:
    """Return the metrics of a worker with these rules."""
    return WorkerMetrics(ProcessMetrics("worker"), lambda: rules.current.config.subscription_names)
