"""Findings of the doctor: what was checked, the result, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """Works now, and may fail later."""
    PROBLEM = "problem"
    """Events are, or could be, lost or late."""
    NOT_CHECKED = "not checked"
    """Unknown: the check could not be made."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    area: str
    """Part that was checked, such as `Redis` or `subscription crm`."""
    state: State
    what: str
    """The finding, in a sentence."""
    remedy: str = ""
    """The command to run or the setting to change; empty if nothing needs to be done."""


def ok(area: str, what: str) -> Finding:
    """Return a finding that needs no remedy."""
    return Finding(area, State.OK, what)


def warning(area: str, what: str, remedy: str) -> Finding:
    """Return a finding about something that works now and may fail later."""
    return Finding(area, State.WARNING, what, remedy)


def problem(area: str, what: str, remedy: str) -> Finding:
    """Return a finding about something that loses or delays events, or could."""
    return Finding(area, State.PROBLEM, what, remedy)


def not_checked(area: str, check: str, why: str, remedy: str) -> Finding:
    """Return a finding about a check that could not be made: an absent line would look like success."""
    return Finding(area, State.NOT_CHECKED, f"{check} not checked: {why}", remedy)
