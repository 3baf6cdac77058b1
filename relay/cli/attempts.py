"""`relay attempts`: what was tried, and what came of it."""

from __future__ import annotations

import heapq
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.filters import (
    ChatOption,
    IdOption,
    LineOption,
    MessageOption,
    OutcomeOption,
    SinceOption,
    SubscriptionOption,
    TraceOption,
    TypeOption,
    UntilOption,
    lanes_meant,
    line_meant,
    moment_meant,
    pattern_meant,
)
from relay.cli.output import JsonOption, console, local_time, print_json, print_table
from relay.core.delivery.outcome import Outcome
from relay.core.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.config.settings import Settings
    from relay.store.lanes.attempt_log import AttemptFilter, FoundAttempt

_SHORT = 60  # characters of an answer in a table


def attempts(
    *,
    subscription: SubscriptionOption = None,
    event_id: IdOption = None,
    event_type: TypeOption = None,
    line: LineOption = None,
    chat: ChatOption = None,
    message: MessageOption = None,
    trace: TraceOption = None,
    outcome: OutcomeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
    json: JsonOption = False,
) -> None:
    """Show what was tried for push subscriptions, newest first; exit code 1 if there is nothing for --id."""
    from relay.parts import load_settings
    from relay.process.event_loop import run
    from relay.store.lanes.attempt_log import AttemptFilter

    sought = AttemptFilter(
        event_ids={event_id} if event_id else None,
        event_type=pattern_meant(event_type),
        line=line_meant(line),
        chat=chat,
        message=message,
        trace=trace,
        outcomes=outcome or None,
        since_ms=moment_meant(since, "--since"),
        until_ms=moment_meant(until, "--until"),
    )
    found = run(_read(load_settings(), subscription, sought, limit))
    if json:
        print_json([attempt_summary(one) for one in found])
    elif found:
        print_attempts("Attempts, newest first" + (f": the first {limit}" if len(found) == limit else ""), found)
    else:
        console.print("Nothing found.")
    if event_id and not found:
        raise typer.Exit(1)


def print_attempts(title: str, found: Iterable[FoundAttempt]) -> None:
    """Prints attempts for a person."""
    columns = ("when", "subscription", "id", "type", "line", "n", "outcome", "status", "ms", "then", "detail")
    print_table(title, columns, [_row(one) for one in found])


def attempt_summary(one: FoundAttempt) -> dict[str, Any]:
    """An attempt for machines; `_at` is Unix milliseconds."""
    attempt = one.attempt
    return {
        "id": attempt.event_id,
        "subscription": one.subscription,
        "topic": attempt.topic,
        "entry": attempt.entry,
        "type": attempt.type,
        "line": attempt.line,
        "chat": attempt.chat,
        "message": attempt.message,
        "trace": attempt.trace,
        "attempt": attempt.number,
        "probe": attempt.is_probe,
        "replay": attempt.is_replay,
        "began_at": attempt.at_ms,
        "ms": attempt.took_ms,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "next_at": attempt.due_ms,
        "dead": attempt.dead,
        "counted": one.counted,
        "detail": one.detail,
    }


def _row(one: FoundAttempt) -> tuple[object, ...]:
    attempt = one.attempt
    marks = [name for name, is_so in (("probe", attempt.is_probe), ("replay", attempt.is_replay)) if is_so]
    return (
        local_time(attempt.at_ms),
        one.subscription,
        attempt.event_id,
        attempt.type,
        attempt.line,
        " ".join([str(attempt.number), *marks]),
        attempt.outcome,
        attempt.status,
        attempt.took_ms,
        _what_followed(one),
        " ".join(one.detail.split())[:_SHORT],
    )


def _what_followed(one: FoundAttempt) -> str:
    attempt = one.attempt
    if not one.counted:
        return "nothing: it came too late"
    if attempt.dead is not None:
        return f"dead: {attempt.dead}"
    if attempt.outcome is Outcome.GONE:
        return "paused"
    if attempt.due_ms is not None:
        return f"again in {format_duration((attempt.due_ms - attempt.at_ms - attempt.took_ms) / 1000)}"
    return "delivered"


async def _read(settings: Settings, subscription: str | None, sought: AttemptFilter, limit: int) -> list[FoundAttempt]:
    from relay.parts import open_store
    from relay.store.lanes.attempt_log import attempts_of
    from relay.store.lanes.dead_letters import DeadLetters

    async with open_store(settings) as redis:
        found: list[FoundAttempt] = []
        for lane in lanes_meant(subscription, await DeadLetters(redis).lanes()):
            most = len(found) + limit
            async with aclosing(attempts_of(redis, lane, sought)) as newest_first:
                async for one in newest_first:
                    found.append(one)
                    if len(found) == most:
                        break
    return heapq.nlargest(limit, found, key=lambda one: one.attempt.at_ms)
