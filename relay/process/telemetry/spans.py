"""Spans: what a stage of the way of an event records, and the tracer that takes them.

A stage knows all of a span only at its end, so it records the span then, with its beginning. A stage that is not traced
has no tracer (None), which is all that it asks. The stages' own modules know which attributes they give; only
`telemetry.otlp` knows OpenTelemetry.

Names of attributes are those of its semantic conventions for messaging and HTTP; those that begin with `relay.` are
ours. No span has a body, a chat or the number of a customer.
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Value = str | int | bool | Sequence[str]
    """Value of an attribute."""

SYSTEM = "redis"
"""`messaging.system`: the inbox and the topics are its streams."""
INBOX = "inbox"
"""`messaging.destination.name` of the inbox."""
_TWO_TO_32 = 1 << 32


class Kind(Enum):
    """Kind of a span; the values are OpenTelemetry's."""

    SERVER = 1
    CLIENT = 2
    CONSUMER = 4


class Link(NamedTuple):
    """Another span that has to do with this one."""

    trace_id: str
    span_id: int
    flags: int


class Span(NamedTuple):
    """A span that has ended."""

    name: str
    kind: Kind
    trace_id: str
    """32 hexadecimal digits."""
    id: int
    parent: int | None
    began: float
    """Unix seconds."""
    ended: float
    attributes: Mapping[str, Value]
    error: str | None = None
    """`error.type` of a span that failed."""
    link: Link | None = None


class Tracer(Protocol):
    """Takes the spans of a process."""

    def is_sampled(self, trace_id: str) -> bool:
        """Return True if the spans of a trace are recorded; the same for every process with the same variables."""

    def new_span_id(self) -> int:
        """Return a random span id."""

    def record(self, span: Span) -> None:
        """Take a span of a sampled trace, without waiting."""


class Sampling:
    """The choice of the traces that are recorded: a part of all, by a hash of the trace id.

    OpenTelemetry's sampler `traceidratio` compares the last eight bytes of the trace id itself with a bound. Linq's
    trace ids are UUIDs of version 4 without hyphens, whose first bits there are always 10: up to a ratio of 0.5 it
    would take none of them, and from 0.75 all.
    """

    def __init__(self, ratio: float) -> None:
        """`ratio` is from 0 to 1."""
        self._bound = round(ratio * _TWO_TO_32)

    def takes(self, trace_id: str) -> bool:
        """Return True if the trace is recorded."""
        return crc32(trace_id.encode()) < self._bound
