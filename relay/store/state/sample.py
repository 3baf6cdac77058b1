"""A sample: a metric, the values of its labels and its value; and those of a relay as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.metrics import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.metrics.metric import Metric

_WORST_IS_MOST = frozenset(
    {
        *(declared.INBOX_OLDEST_AGE, declared.TOPIC_OLDEST_AGE, declared.TOPIC_CAP_RATIO),
        *(declared.PULL_GROUP_OLDEST_UNREAD_AGE, declared.PULL_GROUP_IDLE, declared.SUBSCRIPTION_OLDEST_WAITING_AGE),
        *(declared.SUBSCRIPTION_PAUSED, declared.SUBSCRIPTION_CIRCUIT_BREAKER_OPEN, declared.SUBSCRIPTION_SUSPENDED),
        *(declared.SUBSCRIPTION_SHADOW, declared.REDIS_ROUND_TRIP),
    }
)
_WORST_IS_LEAST = frozenset(
    {
        *(declared.LAST_SWEEP, declared.REDIS_UP),
        *(declared.REDIS_PERSISTENCE_HEALTHY, declared.REDIS_CONNECTED_REPLICAS),
    }
)


class Sample(NamedTuple):
    """A value of a declared metric."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()
    """The values of the metric's labels, in their order; a series lacks the last ones if they are left out."""


def whole_samples(parts: Sequence[Iterable[Sample]]) -> list[Sample]:
    """Return the samples of a relay from those of its shards: sums, and of ages and states the worst.

    The hard cap of a topic is shared by its parts, so the fullest of them is as near to it as the whole could be.
    """
    found: dict[tuple[Metric, tuple[str, ...]], Sample] = {}
    for part in parts:
        for sample in part:
            series = sample.metric, tuple(sample.labels)
            known = found.get(series)
            if sample.metric is declared.TOPIC_CAP_RATIO:
                sample = sample._replace(value=sample.value * len(parts))  # noqa: PLW2901  the same, of its share
            found[series] = sample if known is None else known._replace(value=_both(sample, known.value))
    return list(found.values())


def _both(sample: Sample, value: float) -> float:
    if sample.metric in _WORST_IS_MOST:
        return max(value, sample.value)
    if sample.metric in _WORST_IS_LEAST:
        return min(value, sample.value)
    return value + sample.value
