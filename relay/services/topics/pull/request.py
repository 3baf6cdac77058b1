"""A request for events of a pull group, and the bounds of its values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from relay.consumer.names import MAX_DELIVERIES
from relay.core.errors import Invalid, Problem
from relay.services.topics.pull.access import check_name
from relay.store.topics.pull.group import MAX_PENDING

MAX_EVENTS = 1000
MAX_WAIT = 30.0
"""Seconds."""
MIN_VISIBILITY, MAX_VISIBILITY = 1.0, 12 * 3600.0
"""Seconds."""
MAX_MAX_DELIVERIES = 1000

_START = re.compile(r"0|\$|[0-9]{13}|[0-9]{1,15}-[0-9]{1,18}(\.[1-9][0-9]?)?")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for events."""

    topic: str
    group: str
    member: str = "http"
    """The name of the reader within the group."""
    limit: int = 100
    """Events, at most."""
    wait: float = 0.0
    """Seconds to wait for the first event."""
    visibility: float = 60.0
    """Seconds after which an event that is not acknowledged is delivered again."""
    start: str = "0"
    """The place where a new group begins: `0` (the oldest kept event), `$` (the next one), an entry, or Unix ms."""
    held: int = MAX_PENDING
    """Events that the member may hold, without those that have expired."""
    max_deliveries: int = MAX_DELIVERIES
    """Deliveries of an event to the group; instead of one more, it becomes a dead letter. 0 is no limit."""


def check(request: Request) -> None:
    """Check a request, apart from its topic and its group.

    Raises:
        Invalid: it has mistakes; names all of them.
    """
    problems = [
        Problem(name, f"must be {low:g} to {high:g}{unit}")
        for name, value, low, high, unit in (
            ("limit", request.limit, 1, MAX_EVENTS, ""),
            ("wait", request.wait, 0, MAX_WAIT, " s"),
            ("visibility", request.visibility, MIN_VISIBILITY, MAX_VISIBILITY, " s"),
            ("held", request.held, 1, MAX_PENDING, ""),
            ("max_deliveries", request.max_deliveries, 0, MAX_MAX_DELIVERIES, ""),
        )
        if not (math.isfinite(value) and low <= value <= high)
    ]
    if not _START.fullmatch(request.start):
        problems.append(
            Problem("start", "write 0 (the oldest kept event), $ (the next one), Unix milliseconds, or an entry's id")
        )
    try:
        check_name("member", request.member)
    except Invalid as error:
        problems += error.problems
    if problems:
        raise Invalid(*problems)
