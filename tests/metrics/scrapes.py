"""A scrape as tests read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from relay.metrics.process_metrics import ProcessMetrics

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
    return series_of((await metrics.exposition()).body.decode())
