"""The measured values that conditions look at: samples of metrics, and a history of the counters of webhooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relay.core.config.relay_toml import RelayConfig

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

AGES = (MINUTE, 5 * MINUTE, 6 * HOUR, DAY, DAY + 30 * MINUTE)
"""The ages of the counts that conditions compare with, seconds."""


class Sample(NamedTuple):
    """A value of a metric."""

    metric: str
    labels: Mapping[str, str]
    value: float


class Counts(NamedTuple):
    """Counters of webhooks since the relay was installed."""

    accepted: int
    received: int
    """The accepted ones, repeated ones, and the refused requests."""
    unavailable: int
    """The requests that got the response 503."""


@dataclass(frozen=True)
class Facts:
    """The state of the relay at one moment."""

    now: float
    """Unix seconds."""
    config: RelayConfig
    samples: Sequence[Sample]
    counts: Counts
    earlier: Mapping[float, Counts] = field(default_factory=dict)
    """The counts of each of `AGES` ago; an age is missing if the history does not go back so far."""
    oldest: Counts | None = None
    """The oldest counts of the history."""

    def of(self, metric: str) -> Iterator[Sample]:
        """Yield the samples of a metric."""
        return iter(self._by_metric.get(metric, ()))

    @cached_property
    def _by_metric(self) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            found.setdefault(sample.metric, []).append(sample)
        return found

    def value(self, metric: str) -> float | None:
        """Return the value of a metric without labels; None if it was not measured."""
        return next((sample.value for sample in self.of(metric)), None)
