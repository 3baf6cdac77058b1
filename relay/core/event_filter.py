"""The filter for everything that belongs to an event: topic entries, attempts, dead letters, quarantined webhooks.

A filter is a set of criteria, and matches what meets all of them. Each store describes its records as a `Candidate`;
a criterion on a field that a candidate does not have never matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.core.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Container

    from relay.core.delivery.outcome import Outcome


class Candidate(NamedTuple):
    """The fields of one record that a filter can ask about."""

    event_id: str | None = None
    event_type: str | None = None
    line: str | None = None
    chat: str | None = None
    message: str | None = None
    trace: str | None = None
    reason: str | None = None
    outcome: Outcome | None = None
    at_ms: float | None = None
    """Unix milliseconds."""


class EventFilter(NamedTuple):
    """Criteria that are combined with "and"; None is no criterion."""

    event_type: str | None = None
    """A pattern, as in a topic."""
    line: str | None = None
    event_ids: Container[str] | None = None
    chat: str | None = None
    message: str | None = None
    trace: str | None = None
    reason: str | None = None
    """A part of the reason."""
    outcomes: Container[Outcome] | None = None
    since_ms: float | None = None
    """The first moment, Unix milliseconds."""
    until_ms: float | None = None
    """The moment after the last one, Unix milliseconds."""

    @property
    def is_any(self) -> bool:
        """True if there is no criterion."""
        return self == EventFilter()

    def matches(self, candidate: Candidate) -> bool:
        """Return True if `candidate` meets every criterion."""
        return (
            self.line in {None, candidate.line}
            and self.chat in {None, candidate.chat}
            and self.message in {None, candidate.message}
            and self.trace in {None, candidate.trace}
            and (self.event_ids is None or candidate.event_id in self.event_ids)
            and (self.outcomes is None or candidate.outcome in self.outcomes)
            and (self.reason is None or self.reason in (candidate.reason or ""))
            and self._has_time(candidate.at_ms)
            and (
                self.event_type is None
                or (candidate.event_type is not None and matches(self.event_type, candidate.event_type))
            )
        )

    def _has_time(self, at_ms: float | None) -> bool:
        if self.since_ms is None and self.until_ms is None:
            return True
        return (
            at_ms is not None
            and (self.since_ms is None or at_ms >= self.since_ms)
            and (self.until_ms is None or at_ms < self.until_ms)
        )
