"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may not tomorrow."""
    PROBLEM = "problem"
    """Events are, or could be, lost or late."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    state: State
    what: str
    """What was found, in a sentence."""
    remedy: str = ""
    """What to do about it; empty if nothing."""


def ok(area: str, what: str) -> Finding:
    """All is well."""
    return Finding(area, State.OK, what)


def warning(area: str, what: str, remedy: str) -> Finding:
    """It may not be well tomorrow."""
    return Finding(area, State.WARNING, what, remedy)


def problem(area: str, what: str, remedy: str) -> Finding:
    """It is not well."""
    return Finding(area, State.PROBLEM, what, remedy)
