"""`[linq]` in relay.toml: the Linq subscriptions that bootstrap maintains, and the checks for drift."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from relay.core.config.fields import Duration, Line, Pattern, Table
from relay.core.durations import parse_duration


class LinqV2(Table):
    """The `[linq.v2]` table.

    If it is there, bootstrap maintains one subscription at Linq's older v2 API, signed with `LINQ_V2_WEBHOOK_SECRET`.
    """

    events: Annotated[tuple[Pattern, ...], Field(min_length=1)] | None = None
    """Patterns of the v2 event types to subscribe to, such as `["message.*"]`. Absent: the event types that a topic
    matches.
    """


class LinqConfig(Table):
    """The `[linq]` table: the subscriptions that bootstrap maintains at Linq.

    Without it, every line of the account is subscribed to the event types that the topics match.
    """

    lines: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    """Lines to register, in E.164, such as `["+16465550123"]`. Absent: every line that Linq lists for the API key."""
    exclude: tuple[Line, ...] = ()
    """Lines to leave unregistered, in E.164: all but these are registered. It cannot be combined with `lines`."""
    events: Annotated[tuple[Pattern, ...], Field(min_length=1)] | None = None
    """Patterns of the event types to subscribe to, such as `["message.*"]`. Absent: the event types that a topic
    matches.
    """
    account: StrictBool = True
    """True if the account has a Linq subscription of its own: for events that belong to no line, and for those by which
    Linq reports that a subscription was switched off, or a line assigned or released. Without it, the relay learns of
    that only by its check every five minutes, and topics get no events of the account.
    """
    heal: StrictBool = False
    """True if workers repair the drift that they find at Linq; otherwise they only log and count it. They delete only
    what three checks agree on.
    """
    backfill: StrictBool = False
    """True if workers put back what Linq could not deliver in an outage of more than 25 minutes, half an hour after its
    end: `relay backfill` by itself.
    """
    silent_after: Duration = parse_duration("24h")
    """Time without a verified event after which an active line is reported as silent, such as `"24h"`; it
    counts for lines that are too new to have a usual week ([linq.md](linq.md#lines)).
    """
    opt_outs: StrictBool = False
    """True if the relay keeps a registry of the handles that answered `STOP` on a line, until they send `START`. It
    holds numbers and addresses of customers ([linq.md](linq.md#opt-outs)).
    """
    rotate_overlap: Duration = parse_duration("1h")
    """Time for which the former secret of a rotation stays valid, such as `"1h"`."""
    v2: LinqV2 | None = None
    """The `[linq.v2]` table. Absent: the v2 API is not used."""

    @model_validator(mode="after")
    def _one_choice_of_lines(self) -> Self:
        if self.lines is not None and self.exclude:
            raise ValueError('"lines" and "exclude" cannot be combined; remove one of them')
        return self
