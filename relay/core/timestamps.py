"""Times as text: an age (`2h`, `7d`), or a date and a time (`2026-09-14T09:15:00Z`)."""

from __future__ import annotations

from datetime import UTC, datetime

from relay.core.durations import parse_duration


def parse_time(text: str, now: float) -> float:
    """Parse `text` into Unix seconds, relative to `now`; a time without a zone is in this machine's.

    Raises:
        ValueError: it is neither a duration nor an ISO 8601 date and time.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f'"{text}" is not a time; write an age, such as "2h" or "7d", '
            'or a date and time, such as "2026-09-14T09:15:00Z"'
        ) from None


def utc_text(seconds: float) -> str:
    """Return Unix seconds as a date and time with its zone: `2026-09-14T09:15:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
