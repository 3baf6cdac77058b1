"""Instants in payloads: RFC 3339, up to nanoseconds. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def unix_ms(value: Any) -> int | None:
    """Return the time in a field, Unix milliseconds; None if it has none."""
    try:
        moment = datetime.fromisoformat(value)
        return round(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return None
