"""Conditions of a topic as checks, each with a name: what a topic wants, and the reason why an event fails it.

A check is made for each condition that a topic sets, so those that it does not set cost nothing; conditions on the
body come last, `where` at the very end, so that a body is only read for an event that passes all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from relay.core.conditions.where import Undecided, compiled, holds
from relay.core.event import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from relay.core.conditions.content import Content
    from relay.core.event import Event, Freshness

    Check = Callable[[Event, Content], str | None]


_V2 = Dialect.V2.value  # compared in half the time of the member


class NoResult(str):
    """The reason of an expression that has no result for an event."""

    __slots__ = ()


class Condition(NamedTuple):
    """A condition that a topic sets."""

    name: str
    wanted: str
    """Its value, as text."""
    check: Check
    """Returns the reason why an event fails it; None if the event meets it."""
    reads_body: bool = False


class Conditional(Protocol):
    """The conditions of a topic; None is no condition."""

    @property
    def direction(self) -> str | None:
        """`inbound` or `outbound`."""

    @property
    def service(self) -> Sequence[str] | None:
        """Services."""

    @property
    def is_group(self) -> bool | None:
        """Group chats, or one-to-one chats."""

    @property
    def freshness(self) -> Freshness | None:
        """Live or history."""

    @property
    def api(self) -> str | None:
        """`v3` or `v2`."""

    @property
    def account(self) -> Sequence[str] | None:
        """Names of accounts."""

    @property
    def sender(self) -> Sequence[str] | None:
        """Handles."""

    @property
    def not_sender(self) -> Sequence[str] | None:
        """Handles."""

    @property
    def has_media(self) -> bool | None:
        """With or without a file."""

    @property
    def opt_out(self) -> str | bool | None:
        """`stop`, `start`, or True for both."""

    @property
    def where(self) -> str | None:
        """An expression."""


def conditions_of(topic: Conditional) -> tuple[Condition, ...]:
    """Return the conditions that a topic sets, in the order in which they are checked."""
    return (*_on_fields(topic), *_on_body(topic))


def _on_fields(topic: Conditional) -> Iterator[Condition]:
    if topic.direction is not None:
        yield Condition("direction", topic.direction, _direction(topic.direction))
    if topic.service is not None:
        yield Condition("service", "/".join(topic.service), _service(topic.service))
    if topic.is_group is not None:
        yield Condition("is_group", _flag(topic.is_group), _is_group(is_group=topic.is_group))
    if topic.freshness is not None:
        yield Condition("freshness", topic.freshness, _freshness(topic.freshness))
    if topic.api is not None:
        yield Condition("api", topic.api, _api(topic.api))
    if topic.account is not None:
        yield Condition("account", "/".join(topic.account), _account(topic.account))


def _on_body(topic: Conditional) -> Iterator[Condition]:
    if topic.sender is not None:
        yield Condition("sender", "/".join(topic.sender), _sender(topic.sender), reads_body=True)
    if topic.not_sender is not None:
        yield Condition("not_sender", "/".join(topic.not_sender), _not_sender(topic.not_sender), reads_body=True)
    if topic.has_media is not None:
        yield Condition("has_media", _flag(topic.has_media), _has_media(has_media=topic.has_media), reads_body=True)
    if topic.opt_out is not None:
        wanted = "true" if topic.opt_out is True else str(topic.opt_out)
        yield Condition("opt_out", wanted, _opt_out(topic.opt_out), reads_body=True)
    if topic.where is not None:
        yield Condition("where", topic.where, _where(topic.where), reads_body=True)


def _flag(value: bool | None) -> str:  # noqa: FBT001  a value, not a choice
    return "unknown" if value is None else str(value).lower()


def _direction(wanted: str) -> Check:
    def check(event: Event, _: Content) -> str | None:
        found = event.fields.direction
        return None if found == wanted else f"direction is {found or 'unknown'}, not {wanted}"

    return check


def _service(wanted: Sequence[str]) -> Check:
    def check(event: Event, _: Content) -> str | None:
        found = event.fields.service
        return None if found in wanted else f"service is {found or 'unknown'}, not {' or '.join(wanted)}"

    return check


def _is_group(*, is_group: bool) -> Check:
    def check(event: Event, _: Content) -> str | None:
        found = event.fields.is_group
        return None if found == is_group else f"is_group is {_flag(found)}, not {_flag(is_group)}"

    return check


def _freshness(wanted: Freshness) -> Check:
    def check(event: Event, _: Content) -> str | None:
        return None if event.freshness == wanted else f"freshness is {event.freshness}, not {wanted}"

    return check


def _api(wanted: str) -> Check:
    is_v2_wanted = wanted == Dialect.V2

    def check(event: Event, _: Content) -> str | None:
        return None if (event.version == _V2) is is_v2_wanted else f"api is {event.api}, not {wanted}"

    return check


def _account(wanted: Sequence[str]) -> Check:
    def check(event: Event, _: Content) -> str | None:
        found = event.account
        return None if found in wanted else f"account is {found or 'unknown'}, not {' or '.join(wanted)}"

    return check


def sender_of(event: Event, content: Content) -> str | None:
    """Return who caused an event: our line if it is outbound, else the handle that the body names."""
    if event.fields.direction == "outbound" and event.line is not None:
        return event.line
    return content.sender


def _sender(wanted: Sequence[str]) -> Check:
    def check(event: Event, content: Content) -> str | None:
        found = sender_of(event, content)
        return None if found in wanted else f"sender is {found or 'unknown'}, not {' or '.join(wanted)}"

    return check


def _not_sender(unwanted: Sequence[str]) -> Check:
    def check(event: Event, content: Content) -> str | None:
        found = sender_of(event, content)
        return f"sender is {found}, which not_sender excludes" if found in unwanted else None

    return check


def _has_media(*, has_media: bool) -> Check:
    def check(_: Event, content: Content) -> str | None:
        found = content.has_media
        return None if found == has_media else f"has_media is {_flag(found)}, not {_flag(has_media)}"

    return check


def _opt_out(wanted: str | bool) -> Check:  # noqa: FBT001  a value, not a choice
    def check(_: Event, content: Content) -> str | None:
        found = content.opt_out
        if found == wanted or (wanted is True and found is not None):
            return None
        if wanted is True:
            return "the event is neither an opt-out nor its end"
        return f"opt_out is {found or 'neither stop nor start'}, not {wanted}"

    return check


def _where(text: str) -> Check:
    program = compiled(text)

    def check(_: Event, content: Content) -> str | None:
        try:
            return None if holds(program, content.body) else f"where is not true: {text}"
        except Undecided as undecided:
            return NoResult(f"where has no result, since {undecided}: {text}")

    return check
