"""Fields of forms and queries: what a person typed, as the values that services take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.core.durations import parse_duration
from relay.core.errors import Invalid, Problem
from relay.core.event_filter import EventFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIME = "write 2h or 7d (ago), or a time such as 2026-09-14T09:15Z"


def text(fields: Mapping[str, str], name: str) -> str | None:
    """Return a field without spaces around it; None if it is empty."""
    return fields.get(name, "").strip() or None


def past_time(fields: Mapping[str, str], name: str, now_ms: int) -> float | None:
    """Return a time in the past, Unix milliseconds; None if it is empty.

    Raises:
        Invalid: it is neither a duration nor a time.
    """
    given = text(fields, name)
    if given is None:
        return None
    try:
        return now_ms - parse_duration(given) * 1000
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise Invalid(Problem(name, f'"{given}" is not a time; {_TIME}')) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000


def seconds(fields: Mapping[str, str], name: str) -> float | None:
    """Return a duration in seconds; None if it is empty.

    Raises:
        Invalid: it is not a duration.
    """
    given = text(fields, name)
    try:
        return None if given is None else parse_duration(given)
    except ValueError as error:
        raise Invalid(Problem(name, str(error))) from None


def positive(fields: Mapping[str, str], name: str) -> float | None:
    """Return a number; None if it is empty.

    Raises:
        Invalid: it is not a number above zero.
    """
    given = text(fields, name)
    try:
        value = None if given is None else float(given)
    except ValueError:
        value = -1.0
    if value is not None and not 0 < value < float("inf"):
        raise Invalid(Problem(name, f'"{given}" is not a number above zero'))
    return value


def event_filter(fields: Mapping[str, str], now_ms: int) -> EventFilter:
    """Return the filter that a form describes.

    Raises:
        Invalid: a time cannot be read.
    """
    ids = {word for word in fields.get("id", "").replace(",", " ").split() if word}
    return EventFilter(
        event_type=text(fields, "type"),
        line=text(fields, "line"),
        event_ids=ids or None,
        chat=text(fields, "chat"),
        reason=text(fields, "reason"),
        since_ms=past_time(fields, "since", now_ms),
        until_ms=past_time(fields, "until", now_ms),
    )


def whole(fields: Mapping[str, str], name: str) -> int | None:
    """Return a whole number; None if it is empty or something else."""
    given = text(fields, name)
    return int(given) if given is not None and given.isdecimal() and len(given) < 16 else None
