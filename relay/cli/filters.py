"""The options that choose events, and checks of their values.

Every command that shows or repairs events takes its options from `FILTER_OPTIONS`, so that each is spelled and
understood in one way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.core.delivery.outcome import Outcome
from relay.core.event_filter import EventFilter
from relay.core.lines import is_line
from relay.core.patterns import pattern_problem
from relay.core.timestamps import parse_time
from relay.store.keys import GroupName

if TYPE_CHECKING:
    from collections.abc import Sequence


def _text(flag: str, metavar: str, help_text: str) -> Any:
    return Annotated[str | None, typer.Option(flag, metavar=metavar, help=help_text)]


FILTER_OPTIONS: dict[str, Any] = {
    "event_id": _text("--id", "ID", "Only this id, as tables show it."),
    "event_type": _text("--type", "PATTERN", "Only these event types, such as message.*"),
    "line": _text("--line", "NUMBER", "Only this line, such as +16465550123."),
    "chat": _text("--chat", "ID", "Only this chat."),
    "message": _text("--message", "ID", "Only this message."),
    "trace": _text("--trace", "ID", "Only this trace id."),
    "outcome": Annotated[
        list[Outcome] | None,
        typer.Option("--outcome", metavar="OUTCOME", help=f"Only {', '.join(Outcome)}; repeatable."),
    ],
    "reason": _text("--reason", "TEXT", "Only reasons that contain this text."),
    "since": _text("--since", "TIME", "Only from this time on: 2h or 7d (ago), or 2026-09-14T09:15Z."),
    "until": _text("--until", "TIME", "Only before this time."),
}

SubscriptionOption = Annotated[
    str | None, typer.Option("--subscription", metavar="NAME", help="Only this subscription.")
]
GroupOption = Annotated[
    str | None,
    typer.Option("--group", metavar="TOPIC/GROUP", help="Only this pull group, such as support/billing."),
]
GroupArgument = Annotated[
    str,
    typer.Argument(metavar="TOPIC/GROUP", help="A pull group, such as support/billing."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them; required if no other option selects any.")]


def event_filter(
    *, event_id: str | None = None, outcome: Sequence[Outcome] | None = None, **texts: str | None
) -> EventFilter:
    """Return the filter that the options describe.

    Raises:
        typer.BadParameter: a value is not a pattern, a line or a time.
    """
    return EventFilter(
        event_type=checked_pattern(texts.get("event_type")),
        line=checked_line(texts.get("line")),
        event_ids=frozenset({event_id}) if event_id else None,
        chat=texts.get("chat"),
        message=texts.get("message"),
        trace=texts.get("trace"),
        reason=texts.get("reason"),
        outcomes=outcome or None,
        since_ms=parsed_time(texts.get("since"), "--since"),
        until_ms=parsed_time(texts.get("until"), "--until"),
    )


def checked_pattern(event_type: str | None) -> str | None:
    """Return `event_type`, if it is a pattern."""
    if event_type and (problem := pattern_problem(event_type)):
        raise typer.BadParameter(problem, param_hint="--type")
    return event_type


def checked_line(line: str | None) -> str | None:
    """Return `line`, if it is a phone number."""
    if line and not is_line(line):
        raise typer.BadParameter(f'"{line}" is not a phone number in E.164, such as +16465550123', param_hint="--line")
    return line


def parsed_group(text: str, option: str = "TOPIC/GROUP") -> GroupName:
    """Return the pull group that `text` names."""
    topic, _, group = text.partition("/")
    if not (topic and group):
        raise typer.BadParameter(f'"{text}" is not a topic and a group, such as support/billing', param_hint=option)
    return GroupName(topic, group)


def parsed_time(text: str | None, option: str) -> float | None:
    """Return the Unix milliseconds that `text` names."""
    if text is None:
        return None
    try:
        return parse_time(text, time.time()) * 1000
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def parsed_past_time(text: str | None, option: str) -> float | None:
    """Return the Unix milliseconds that `text` names.

    Raises:
        typer.BadParameter: the time is in the future.
    """
    ms = parsed_time(text, option)
    if ms is not None and ms > time.time() * 1000:
        raise typer.BadParameter(f'"{text}" is in the future', param_hint=option)
    return ms


def check_choice(which: EventFilter, options: Sequence[str], *, every: bool) -> None:
    """Raise BadParameter if nothing is chosen, so that a bare command never changes everything."""
    if which.is_any and not every:
        raise typer.BadParameter(f"choose with {', '.join(options)}, or --all")
