"""Moments as people write them: how long ago (`2h`), or a date and a time (`2026-09-14T09:15:00Z`)."""

from __future__ import annotations

from datetime import datetime

from relay.core.durations import parse_duration


def parse_time(text: str, now: float) -> float:
    """The Unix seconds that `text` names, seen from `now`; a time without a zone is this machine's.

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
            f'"{text}" is no moment; write how long ago, such as "2h", or a time, such as "2026-09-14T09:15:00Z"'
        ) from None
