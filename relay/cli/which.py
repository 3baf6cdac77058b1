"""The options that say which events are meant, and checks of what they are given."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.core.config import RelayConfig
    from relay.store.deadletters import Which

SubscriptionOption = Annotated[str | None, typer.Option("--subscription", help="Only of this subscription.")]
IdOption = Annotated[str | None, typer.Option("--id", help="Only of this event id.")]
TypeOption = Annotated[str | None, typer.Option("--type", help="Only of these event types: a pattern, as in a topic.")]
LineOption = Annotated[str | None, typer.Option("--line", help="Only of this line, E.164.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only those whose reason has this in it.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Only those that died since: 2h, or a time.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only those that died before: 2h, or a time.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every dead letter (of the subscription, if one is named).")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]


def meant_by(
    event_id: str | None,
    event_type: str | None,
    line: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
) -> Which:
    """Which dead letters the options mean."""
    from relay.store.deadletters import Which

    check_type_and_line(event_type, line)
    return Which(event_id, event_type, line, reason, moment(since, "--since"), moment(until, "--until"))


def check_type_and_line(event_type: str | None, line: str | None) -> None:
    """Makes sure that --type is a pattern and --line a number."""
    from relay.core.lines import is_line
    from relay.core.patterns import pattern_problem

    if event_type and (problem := pattern_problem(event_type)):
        raise typer.BadParameter(problem, param_hint="--type")
    if line and not is_line(line):
        raise typer.BadParameter(f'"{line}" is not a phone number in E.164, such as +16465550123', param_hint="--line")


def moment(text: str | None, option: str) -> float | None:
    """The Unix milliseconds that an option names, if it is given."""
    from relay.core.moments import parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text, time.time()) * 1000
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def past_moment(text: str | None, option: str) -> float | None:
    """As `moment`, for what must have been.

    Raises:
        typer.BadParameter: it lies in the future.
    """
    ms = moment(text, option)
    if ms is not None and ms > time.time() * 1000:
        raise typer.BadParameter(f'"{text}" is in the future', param_hint=option)
    return ms


async def check_topic(redis: Redis, config: RelayConfig, topic: str) -> None:
    """Makes sure that there is, or was, a topic of that name."""
    from relay.core.errors import RelayError
    from relay.store.topics import topic_names

    topics = await topic_names(redis, (one.name for one in config.topics))
    if topic not in topics:
        raise RelayError(f'no topic "{topic}" (known: {", ".join(topics) or "none"})')


def say_which(which: Which, *, every: bool) -> None:
    """Makes sure that somebody who names nothing means everything."""
    if which.is_any and not every:
        raise typer.BadParameter("say which: --id, --type, --line, --reason, --since, --until, or --all")
