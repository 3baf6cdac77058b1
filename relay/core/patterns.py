"""Event-type patterns: `message.received` (exact), `message.*` (everything below `message.`) and `*` (everything).

Event types are an open set (Linq's list grew from 18 to 75 in a few months), so only the form of a pattern is checked.
"""

from __future__ import annotations

import re

EVERYTHING = "*"
_PATTERN = re.compile(r"\*|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\.\*)?")


def pattern_problem(pattern: str) -> str | None:
    """Return an error message if `pattern` is not a pattern; None if it is."""
    if _PATTERN.fullmatch(pattern):
        return None
    return (
        f'"{pattern}" is not an event-type pattern; write an event type ("message.received"), '
        'a family ("message.*") or everything ("*")'
    )


def patterns_that_match(event_type: str) -> tuple[str, ...]:
    """Return every pattern that matches `event_type`, most specific first; these are the keys to look up in an index.

    `chat.typing_indicator.started` gives itself, `chat.typing_indicator.*`, `chat.*` and `*`.
    """
    found = [event_type]
    family = event_type
    while (dot := family.rfind(".")) > 0:
        family = family[:dot]
        found.append(f"{family}.*")
    found.append(EVERYTHING)
    return tuple(found)


def matches(pattern: str, event_type: str) -> bool:
    """Return True if `pattern` matches `event_type`."""
    return pattern in patterns_that_match(event_type)
