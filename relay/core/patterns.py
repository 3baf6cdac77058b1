"""Event-type patterns: `message.received` (exactly it), `message.*` (everything below `message.`) and `*` (everything).

Event types are an open set (Linq's list went from 18 to 75 in a few months), so a pattern is checked for its form only.
"""

from __future__ import annotations

import re

EVERYTHING = "*"
_PATTERN = re.compile(r"\*|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\.\*)?")


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with `pattern`, in a sentence; None if it is one."""
    if _PATTERN.fullmatch(pattern):
        return None
    return (
        f'"{pattern}" is not an event-type pattern; write an event type ("message.received"), '
        'a family of them ("message.*") or everything ("*")'
    )


def patterns_that_match(event_type: str) -> tuple[str, ...]:
    """Every pattern that matches `event_type`, most exact first: what an index is asked for.

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
    """Whether `pattern` matches `event_type`."""
    return pattern in patterns_that_match(event_type)
