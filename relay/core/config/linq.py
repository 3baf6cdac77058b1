"""`[linq]` in relay.toml: the Linq subscriptions that bootstrap maintains, and the checks for drift."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictBool, model_validator

from relay.core.config.fields import Duration, Line, Name, Pattern, Table
from relay.core.durations import parse_duration


def _reference(text: str) -> str:
    source, _, value = text.partition(":")
    if source not in {"env", "file"} or not value:
        raise ValueError('write the key as "env:NAME" or "file:PATH"; it must not be written in relay.toml itself')
    return text


class LinqV2(Table):
    """The `[linq.v2]` table.

    If it is there, bootstrap maintains one subscription at Linq's older v2 API, signed with `LINQ_V2_WEBHOOK_SECRET`.
    """

    events: Annotated[tuple[Pattern, ...], Field(min_length=1)] | None = None
    """Patterns of the v2 event types to subscribe to, such as `["message.*"]`. Absent: the event types that a topic
    matches.
    """


class LinqAccount(Table):
    """A `[[linq.accounts]]` table: a further account at Linq, with a key of its own for the v3 API.

    The account of `LINQ_API_V3_API_KEY`, if that is set, stays beside these, without a name.
    """

    name: Name
    """Unique name: letters, digits, `.`, `_` and `-`, at most 64, such as `"sales"`. It is in the URLs at Linq."""
    key: Annotated[str, AfterValidator(_reference)]
    """API key: `"env:NAME"` (a variable) or `"file:PATH"` (a file, relative to relay.toml)."""
    lines: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    """Lines to register, in E.164. Absent: every line that Linq lists for the key."""
    exclude: tuple[Line, ...] = ()
    """Lines to leave unregistered, in E.164. It cannot be combined with `lines`."""

    @model_validator(mode="after")
    def _one_choice_of_lines(self) -> Self:
        _check_lines(self)
        return self


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
    accounts: tuple[LinqAccount, ...] = ()
    """The `[[linq.accounts]]` tables. Absent: the one account of `LINQ_API_V3_API_KEY`."""

    @model_validator(mode="after")
    def _one_choice_of_lines(self) -> Self:
        _check_lines(self)
        return self

    def of(self, account: LinqAccount) -> Self:
        """Return this table for one of the accounts: with its lines."""
        return self.model_copy(update={"lines": account.lines, "exclude": account.exclude})


def _check_lines(table: LinqConfig | LinqAccount) -> None:
    if table.lines is not None and table.exclude:
        raise ValueError('"lines" and "exclude" cannot be combined; remove one of them')
