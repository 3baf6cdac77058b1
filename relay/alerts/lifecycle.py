"""The life of an alert. Pure.

A problem is pending until it has lasted for its time, and is forgotten without a webhook if it ends sooner. Then it
fires: a webhook is made when that begins, and another one when the problem is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.alerts.conditions import Problem


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem that is watched."""

    condition: str
    severity: str
    section: str
    """Its section of the runbook."""
    labels: dict[str, str] = field(default_factory=dict)
    """Subject of it; empty for the relay as a whole."""
    value: float = 0.0
    """The last measured value."""
    text: str = ""
    """The last sentence about it, without a full stop."""
    since_ms: int = 0
    """Time since which the problem is there, Unix milliseconds."""
    fires_since_ms: int | None = None
    """Time of the beginning; None while it is pending."""

    @property
    def is_firing(self) -> bool:
        """True if it has lasted for its time."""
        return self.fires_since_ms is not None


ALERT = TypeAdapter(Alert)
"""The form in which Redis stores an alert."""


class Notice(NamedTuple):
    """The beginning or the end of an alert."""

    kind: Literal["began", "ended"]
    alert: Alert
    at_ms: int


class Step(NamedTuple):
    """Result of a look at the problems."""

    alerts: dict[str, Alert]
    """Every problem that is watched from now on."""
    notices: list[Notice]


def advance(known: Mapping[str, Alert], problems: Iterable[Problem], now_ms: int) -> Step:
    """Return the alerts after a look that found `problems`, and what began or ended with it."""
    alerts: dict[str, Alert] = {}
    notices: list[Notice] = []
    for problem in problems:
        alert = _watched(problem, known.get(problem.key), now_ms)
        if not alert.is_firing and now_ms - alert.since_ms >= problem.lasting * 1000:
            alert = replace(alert, fires_since_ms=now_ms)
            notices.append(Notice("began", alert, now_ms))
        alerts[problem.key] = alert
    ended = [alert for key, alert in known.items() if key not in alerts and alert.is_firing]
    notices += [Notice("ended", alert, now_ms) for alert in ended]
    return Step(alerts, notices)


def _watched(problem: Problem, former: Alert | None, now_ms: int) -> Alert:
    condition, found = problem.condition, problem.found
    return Alert(
        condition=condition.name,
        severity=condition.severity,
        section=condition.section,
        labels=dict(found.labels),
        value=found.value,
        text=found.text,
        since_ms=former.since_ms if former else now_ms,
        fires_since_ms=former.fires_since_ms if former else None,
    )
