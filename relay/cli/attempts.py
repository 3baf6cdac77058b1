"""`relay attempts`: delivery attempts and their outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.command import command, commands
from relay.cli.filters import SubscriptionOption
from relay.cli.operator import cli_principal
from relay.cli.output import View, print_json, print_table, say
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.config.load import load_settings
from relay.core.delivery.outcome import Outcome
from relay.core.durations import format_duration
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries.attempts import latest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.cli.remote.access import Access
    from relay.store.lanes.attempts.log import FoundAttempt

app = commands()
_COMMON = ("subscription", "id", "type", "line")
FILTERS = ("event_id", "event_type", "line", "chat", "message", "trace", "outcome", "since", "until")


@command(
    app,
    filters=FILTERS,
    examples=("relay attempts --id 01J8Z0QF7K", "relay attempts --subscription bot --outcome failed --since 2h"),
)
def attempts(
    *,
    subscription: SubscriptionOption = None,
    which: EventFilter,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Show at most this many.")] = 50,
    via: Via,
    view: View,
) -> None:
    """Search delivery attempts to push subscriptions, newest first.

    Exit code 1 if --id is given and no attempt has it.
    """
    found = run(_read(via.remote(), subscription, which, limit))
    if view.json:
        print_json([attempt_summary(attempt) for attempt in found])
    elif found:
        limited = f" (limited to {limit})" if len(found) == limit else ""
        print_attempts(f"Attempts, newest first{limited}", found, view)
    else:
        say("Nothing found.")
    if which.event_ids and not found:
        raise typer.Exit(1)


def print_attempts(title: str, found: Iterable[FoundAttempt], view: View, *, of_one_delivery: bool = False) -> None:
    """Print attempts for people; those of one delivery without the fields that they have in common."""
    columns = ("time", *_COMMON, "attempt", "outcome", "status", "took", "next step", "detail")
    hidden = set(_COMMON) if of_one_delivery else set()
    shown = [position for position, column in enumerate(columns) if column not in hidden]
    rows = [_row(attempt, view) for attempt in found]
    print_table(title, [columns[at] for at in shown], [[row[at] for at in shown] for row in rows], view)


def attempt_summary(found: FoundAttempt) -> dict[str, Any]:
    """Return an attempt for JSON; `_at` is Unix milliseconds."""
    attempt = found.attempt
    return {
        "id": attempt.event_id,
        "subscription": found.subscription,
        "topic": attempt.topic,
        "entry": attempt.entry,
        "type": attempt.type,
        "line": attempt.line,
        "chat": attempt.chat,
        "message": attempt.message,
        "trace": attempt.trace,
        "attempt": attempt.number,
        "probe": attempt.is_probe,
        "replay": attempt.is_replay and not attempt.is_test,
        "test": attempt.is_test,
        "shape": attempt.shape,
        "began_at": attempt.at_ms,
        "ms": attempt.took_ms,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "next_at": attempt.due_ms,
        "dead": attempt.dead,
        "counted": found.counted,
        "detail": found.detail,
    }


def _row(found: FoundAttempt, view: View) -> tuple[object, ...]:
    attempt = found.attempt
    return (
        view.time(attempt.at_ms),
        found.subscription,
        attempt.event_id,
        attempt.type,
        attempt.line,
        " ".join([str(attempt.number), *attempt.marks]),
        attempt.outcome,
        attempt.status,
        format_duration(attempt.took_ms / 1000),
        _next_step(found),
        found.detail,
    )


def _next_step(found: FoundAttempt) -> str:
    attempt = found.attempt
    if not found.counted:
        return "ignored: too late"
    if attempt.dead is not None:
        return f"dead: {attempt.dead}"
    if attempt.outcome is Outcome.GONE:
        return "paused"
    if attempt.due_ms is not None:
        return f"retry in {format_duration((attempt.due_ms - attempt.at_ms - attempt.took_ms) / 1000)}"
    return "delivered"


async def _read(access: Access | None, subscription: str | None, which: EventFilter, limit: int) -> list[FoundAttempt]:
    if access is not None:
        return await calls.attempts(access, subscription, which, limit)
    async with open_context(load_settings()) as context:
        return await latest(context, cli_principal(), subscription, which, limit)
