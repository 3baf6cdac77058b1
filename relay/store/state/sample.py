"""A sample: a metric, the values of its labels and its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from relay.metrics.metric import Metric


class Sample(NamedTuple):
    """A value of a declared metric."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()
    """The values of the metric's labels, in their order; a series lacks the last ones if they are left out."""
