"""The options that say which events, dead letters or attempts are meant, and checks of what they are given."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from relay.core.delivery.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from relay.core.config.relay_toml import RelayConfig
    from relay.store.lanes.dead_letters import DeadLetterFilter

SubscriptionOption = Annotated[str | None, typer.Option("--subscription", help="Only of this subscription.")]
IdOption = Annotated[str | None, typer.Option("--id", help="Only of this event id.")]
TypeOption = Annotated[str | None, typer.Option("--type", help="Only of these event types: a pattern, as in a topic.")]
LineOption = Annotated[str | None, typer.Option("--line", help="Only of this line, E.164.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only those whose reason has this in it.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Only what happened since: 2h, or a time.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only what happened before: 2h, or a time.")]
ChatOption = Annotated[str | None, typer.Option("--chat", help="Only of this chat id.")]
MessageOption = Annotated[str | None, typer.Option("--message", help="Only of this message id.")]
TraceOption = Annotated[str | None, typer.Option("--trace", help="Only of this trace id.")]
OutcomeOption = Annotated[list[Outcome] | None, typer.Option("--outcome", help="Only with this outcome; repeatable.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every dead letter (of the subscription, if one is named).")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]


def meant_by(
    event_id: str | None,
    event_type: str | None,
    line: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
) -> DeadLetterFilter:
    """Which dead letters the options mean."""
    from relay.store.lanes.dead_letters import DeadLetterFilter

    return DeadLetterFilter(
        event_id,
        pattern_meant(event_type),
        line_meant(line),
        reason,
        moment_meant(since, "--since"),
        moment_meant(until, "--until"),
    )


def pattern_meant(event_type: str | None) -> str | None:
    """`event_type`, if it is a pattern."""
    from relay.core.patterns import pattern_problem

    if event_type and (problem := pattern_problem(event_type)):
        raise typer.BadParameter(problem, param_hint="--type")
    return event_type


def line_meant(line: str | None) -> str | None:
    """`line`, if it is one."""
    from relay.core.lines import is_line

    if line and not is_line(line):
        raise typer.BadParameter(f'"{line}" is not a phone number in E.164, such as +16465550123', param_hint="--line")
    return line


def moment_meant(text: str | None, option: str) -> float | None:
    """The Unix milliseconds that `text` names."""
    from relay.core.timestamps import parse_time

    if text is None:
        return None
    try:
        return parse_time(text, time.time()) * 1000
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def past_moment(text: str | None, option: str) -> float | None:
    """As `moment_meant`, for what must have been.

    Raises:
        typer.BadParameter: it lies in the future.
    """
    ms = moment_meant(text, option)
    if ms is not None and ms > time.time() * 1000:
        raise typer.BadParameter(f'"{text}" is in the future', param_hint=option)
    return ms


async def check_topic(redis: Redis, config: RelayConfig, topic: str) -> None:
    """Makes sure that there is, or was, a topic of that name."""
    from relay.core.errors import RelayError
    from relay.store.topics.topics import topic_names

    topics = await topic_names(redis, (one.name for one in config.topics))
    if topic not in topics:
        raise RelayError(f'no topic "{topic}" (known: {", ".join(topics) or "none"})')


def lanes_meant(subscription: str | None, lanes: Sequence[str]) -> Sequence[str]:
    """The one of `lanes` that is named, or all.

    Raises:
        RelayError: there is none of that name.
    """
    from relay.core.errors import RelayError

    if subscription is None:
        return lanes
    if subscription not in lanes:
        known = ", ".join(lanes) or "none yet"
        raise RelayError(f'no subscription "{subscription}" ever had an event (known: {known})')
    return [subscription]


def say_which(which: DeadLetterFilter, *, every: bool) -> None:
    """Makes sure that somebody who names nothing means everything."""
    if which.is_any and not every:
        raise typer.BadParameter("say which: --id, --type, --line, --reason, --since, --until, or --all")
