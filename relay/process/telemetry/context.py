"""Trace context of an event: its trace id, and the ids of the spans in which the relay accepts and routes it.

Each process derives them from what it has anyway, the event's id and Linq's trace id, so nothing travels through Redis
for them: no field is added to a stream, and an event that was accepted before tracing was enabled is traced as well.

    trace id    Linq's, if it is one by W3C Trace Context (32 hexadecimal digits; hyphens are left out), else the first
                16 bytes of SHA-256("trace:" + Linq's trace id), or of SHA-256("event:" + event id) if Linq gives none
    span id     the first 8 bytes of SHA-256(stage + ":" + event id); stages are `accept` and `route`
"""

from __future__ import annotations

import re
from enum import StrEnum
from hashlib import sha256

from relay.core.json_text import storable

TRACEPARENT = "traceparent"
"""The header of W3C Trace Context."""

_TRACE_ID = r"(?!0{32})[0-9a-f]{32}"  # https://www.w3.org/TR/trace-context/#trace-id
_is_trace_id = re.compile(_TRACE_ID).fullmatch
_match_traceparent = re.compile(rf"(?!ff)[0-9a-f]{{2}}-({_TRACE_ID})-(?!0{{16}})([0-9a-f]{{16}})-([0-9a-f]{{2}})").match


class Stage(StrEnum):
    """Stage of an event that has one span."""

    ACCEPT = "accept"
    ROUTE = "route"


def trace_id_of(trace: str | None, event_id: str) -> str:
    """Return the trace id of an event, 32 hexadecimal digits; `trace` is Linq's."""
    if trace is not None and _is_trace_id(trace):
        return trace
    digits = (trace or "").replace("-", "").lower()
    if _is_trace_id(digits):
        return digits
    given = f"event:{event_id}" if storable(trace) is None else f"trace:{trace}"
    return sha256(given.encode(errors="replace")).hexdigest()[:32]


def span_id_of(stage: Stage, event_id: str) -> int:
    """Return the id of the span in which the relay accepts or routes an event."""
    return int.from_bytes(sha256(f"{stage.value}:{event_id}".encode(errors="replace")).digest()[:8]) or 1


def traceparent_of(trace_id: str, span_id: int, *, sampled: bool) -> str:
    """Return the value of the header `traceparent`."""
    return f"00-{trace_id}-{span_id:016x}-0{int(sampled)}"


def parse_traceparent(header: str) -> tuple[str, int, int] | None:
    """Return trace id, span id and flags of a header `traceparent`; None if it is not valid."""
    found = _match_traceparent(header)
    return (found[1], int(found[2], 16), int(found[3], 16)) if found else None
