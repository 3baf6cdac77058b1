"""metrics.md: the metrics and their labels, from their declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.cli.reference.markdown import generated_from, table
from relay.metrics.declared import METRICS
from relay.metrics.labels import LABELS
from relay.metrics.metric import Kind, Metric, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTRODUCTION = """\
# Metrics

Prometheus gets the metrics of a process at `/metrics` of its admin listener ([how to scrape each
role](operating.md#metrics)), which must not be public: labels name topics, subscriptions and lines. For a group of
processes the supervisor adds up what all of them counted. Names and labels are a public contract. No label holds an
event, a chat or a customer's number, so the number of series is bounded by the configuration.
"""

_SECTIONS: Mapping[Source, tuple[str, str]] = {
    Source.EVERY: (
        "Every process",
        """A process that is not one of a group also has those of prometheus-client: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_open_fds` and so on.""",
    ),
    Source.INGRESS: ("Ingress", "Counted since the start of the process."),
    Source.INGRESS_AND_WORKER: ("Ingress and worker", "A webhook is counted where it was found to be unreadable."),
    Source.WORKER: (
        "Worker",
        """Counted since the start of the process. A subscription has series in each worker that has delivered to it,
until it is removed from relay.toml: add them up with `sum by (subscription)`.""",
    ),
    Source.REDIS: (
        "Read from Redis",
        """The state of the whole relay, which the role admin reads when it is scraped, and keeps for a few seconds. A
slow Redis does not delay a scrape: after a deadline, `relay_redis_up` or `relay_redis_read_complete` is 0, and what was
not read is absent.""",
    ),
}


def metrics_page() -> str:
    """Return the text of metrics.md."""
    parts = [generated_from("relay/metrics/declared.py") + _INTRODUCTION]
    for source, (title, note) in _SECTIONS.items():
        rows = [_row(metric) for metric in METRICS if metric.source is source]
        parts.append(f"## {title}\n\n{note}\n\n{table(('metric', 'type', 'labels', ''), rows)}")
    labels = ((f"`{name}`", text) for name, text in LABELS.items())
    parts.append(f"## Labels\n\n{table(('label', 'values'), labels)}")
    return "\n".join(parts)


def _row(metric: Metric) -> tuple[str, ...]:
    bounds = ", ".join(f"{bound:g}" for bound in metric.buckets)
    meaning = f"{metric.help}. Bounds: {bounds} s" if metric.kind is Kind.HISTOGRAM else metric.help
    return f"`{metric.name}`", metric.kind.value, ", ".join(f"`{label}`" for label in metric.labels), f"{meaning}."
