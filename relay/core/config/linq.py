"""`[linq]` in relay.toml: what bootstrap keeps at Linq, and how it looks after it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from relay.core.config.fields import Duration, Line, Pattern, Table
from relay.core.durations import parse_duration


class LinqV2(Table):
    """The `[linq.v2]` table; with it, bootstrap keeps one subscription at Linq's older v2 API."""

    events: Annotated[tuple[Pattern, ...] | None, Field(min_length=1)] = None
    """Patterns of the v2 event types to subscribe to; without it, those that a topic asks for."""


class LinqConfig(Table):
    """The `[linq]` table; without it, every line of the account gets what the topics ask for."""

    lines: Annotated[tuple[Line, ...] | None, Field(min_length=1)] = None
    """The lines to register; without it, all that Linq lists for the key."""
    exclude: tuple[Line, ...] = ()
    """Lines that Linq lists and that are left alone."""
    events: Annotated[tuple[Pattern, ...] | None, Field(min_length=1)] = None
    """Patterns of the event types to subscribe to; without it, those that a topic asks for."""
    account: StrictBool = True
    """Whether events that belong to no line get a subscription of their own, if any are wanted."""
    heal: StrictBool = False
    """Whether workers repair what the check of every few minutes finds, or only say it."""
    silent_after: Duration = parse_duration("24h")
    """Seconds without a verified event after which a line that used to speak counts as silent."""
    rotate_overlap: Duration = parse_duration("1h")
    """Seconds that the old secret of a rotation lives on."""
    v2: LinqV2 | None = None
    """What to keep at the v2 API; without it, nothing there is looked at."""

    @model_validator(mode="after")
    def _one_choice_of_lines(self) -> Self:
        if self.lines is not None and self.exclude:
            raise ValueError('give "lines" or "exclude", not both')
        return self
