"""Durations as text: a number and a unit (`250ms`, `5s`, `2m`, `1.5h`, `7d`)."""

from __future__ import annotations

import re
from math import isfinite

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str) -> float:
    """Parse `text` into seconds.

    Raises:
        ValueError: `text` is not a number directly followed by ms, s, m, h or d.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f'"{text}" is not a duration; write a number and a unit, such as "250ms", "5s", "2m", "1h" or "7d"'
        )
    number, unit = match.groups()
    seconds = float(number) * _SECONDS[unit]
    if not isfinite(seconds):
        raise ValueError(f'"{text[:20]}..." is too long for a duration')
    return seconds


def format_duration(seconds: float) -> str:
    """Format `seconds` in the largest unit that keeps it short, such as `5s` or `1.5m`."""
    for unit, length in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= 0.9995 * length:
            return f"{_short(seconds / length)}{unit}"
    return f"{_short(seconds * 1000)}ms"


def _short(number: float) -> str:
    """Format with three significant digits, and never fewer than the integer part has."""
    return f"{number:.0f}" if number >= 999.5 else f"{number:.3g}"
