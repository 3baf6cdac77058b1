"""Criteria by which lists and changes choose what belongs to events."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from relay.core.conditions.handles import normalised_handle
from relay.core.config.fields import Line, Pattern
from relay.core.delivery.outcome import Outcome
from relay.core.event_filter import EventFilter
from relay.web.api.models import PLUS, Input, When, ms_of

Text = Annotated[str, Field(min_length=1, max_length=256)]
LineText = Annotated[Line, PLUS]
HandleText = Annotated[Text, PLUS, AfterValidator(normalised_handle)]


class Period(Input):
    """A period of time."""

    since: When | None = None
    """The first moment: a time with its zone, or an age such as `2h`."""
    until: When | None = None
    """The moment after the last one."""


class EventCriteria(Period):
    """Criteria that are combined with "and"."""

    type: Pattern | None = None
    """A type of events, or a pattern such as `message.*`."""
    line: LineText | None = None
    """A number of ours, in E.164."""
    event: Text | None = None
    """The id of an event."""
    chat: Text | None = None
    reason: Text | None = None
    """A part of the reason."""

    def as_filter(self, now_ms: int) -> EventFilter:
        """Return the filter of the services."""
        return EventFilter(
            event_type=self.type,
            line=self.line,
            event_ids=None if self.event is None else {self.event},
            chat=self.chat,
            reason=self.reason,
            since_ms=ms_of(self.since, now_ms),
            until_ms=ms_of(self.until, now_ms),
        )


def check_choice(chosen: bool, every: bool, names: str) -> None:  # noqa: FBT001  two answers, and nothing else
    """Refuse to change everything unless it was asked for, as the command line does.

    Raises:
        ValueError: nothing is chosen.
    """
    if not chosen and not every:
        raise ValueError(f'choose with {names}, or "all": true')


class AttemptCriteria(Period):
    """Criteria of attempts, combined with "and"."""

    type: Pattern | None = None
    """A type of events, or a pattern such as `message.*`."""
    line: LineText | None = None
    """A number of ours, in E.164."""
    event: Text | None = None
    """The id of an event."""
    chat: Text | None = None
    message: Text | None = None
    trace: Text | None = None
    outcome: Annotated[tuple[Outcome, ...], Field(max_length=8)] = ()
    """The outcomes of interest; all without one."""

    def as_filter(self, now_ms: int) -> EventFilter:
        """Return the filter of the services."""
        return EventFilter(
            event_type=self.type,
            line=self.line,
            event_ids=None if self.event is None else {self.event},
            chat=self.chat,
            message=self.message,
            trace=self.trace,
            outcomes=frozenset(self.outcome) or None,
            since_ms=ms_of(self.since, now_ms),
            until_ms=ms_of(self.until, now_ms),
        )
