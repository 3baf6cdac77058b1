"""A metric as it is declared: its type, and the processes that have it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

Combine = Literal["livesum", "livemin", "livemax", "livemostrecent"]


class Kind(StrEnum):
    """The type of a metric, as Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """The processes that have a metric."""

    EVERY = "every role"
    INGRESS = "ingress"
    WORKER = "worker"
    INGRESS_AND_WORKER = "ingress and worker"
    REDIS = "admin"
    """Read from Redis when it is scraped; the same whichever process reads it, so only one role does."""


class Metric(NamedTuple):
    """A metric."""

    name: str
    source: Source
    help: str
    """The meaning, in one sentence without a full stop."""
    labels: tuple[str, ...] = ()
    kind: Kind = Kind.GAUGE
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram."""
    combine: Combine = "livesum"
    """The way in which the values of a gauge become one where several processes share a port."""
