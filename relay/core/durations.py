"""Durations as people write them: a number and a unit (`250ms`, `5s`, `2m`, `1.5h`)."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds in `text`.

    Raises:
        ValueError: `text` is not a number directly followed by ms, s, m or h.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'"{text}" is not a duration; write a number and a unit, such as "250ms", "5s", "2m" or "1h"')
    number, unit = match.groups()
    return float(number) * _SECONDS[unit]


def format_duration(seconds: float) -> str:
    """`seconds` in the largest unit that keeps it short, such as `5s` or `1.5m`."""
    for unit, length in (("h", 3600.0), ("m", 60.0), ("s", 1.0)):
        if seconds >= length:
            return f"{seconds / length:.3g}{unit}"
    return f"{seconds * 1000:.3g}ms"
