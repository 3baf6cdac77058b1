"""`relay dead`: dead letters, the deliveries that failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.attempts import attempt_summary, print_attempts
from relay.cli.command import command, commands
from relay.cli.dead_letters import Found, drop_letters, find_letters, list_letters, replay_letters
from relay.cli.filters import AllOption, DryRunOption, SubscriptionOption, check_choice
from relay.cli.operator import WhyArgument, WhyOption
from relay.cli.output import View, changed_or_would_be, print_fields, print_json, print_table, say
from relay.config.load import load_settings
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run

if TYPE_CHECKING:
    from relay.store.lanes.dead_letters import DeadLetter

app = commands(
    "List, show, replay and drop dead letters: deliveries that failed for good.",
    examples=("relay dead list --since 2h", "relay dead replay --subscription bot --all"),
)
FILTERS = ("event_id", "event_type", "line", "chat", "reason", "since", "until")
_LABELS = {"accepted_at": "accepted", "died_at": "dead since", "tries": "attempts"}
_CHOICES = ("--id", "--type", "--line", "--chat", "--reason", "--since", "--until")


@command(
    app, "list", filters=FILTERS, examples=("relay dead list --since 2h", "relay dead list --type 'message.*' --json")
)
def list_(*, subscription: SubscriptionOption = None, which: EventFilter, view: View) -> None:
    """List dead letters, oldest first."""
    letters = run(list_letters(load_settings(), subscription, which))
    if view.json:
        print_json([_summary(letter) for letter in letters])
        return
    columns = ("id", "subscription", "type", "line", "dead since", "attempts", "reason")
    rows = [
        (
            letter.record.id,
            letter.subscription,
            letter.record.type,
            letter.record.line,
            view.time(letter.at),
            letter.tries,
            letter.reason,
        )
        for letter in letters
    ]
    print_table(f"Dead letters: {len(rows)}", columns, rows, view)


@command(app, filters=FILTERS, examples=("relay dead show --id 01J8Z0QF7K", "relay dead show --reason 404 --utc"))
def show(*, subscription: SubscriptionOption = None, which: EventFilter, view: View) -> None:
    """Show dead letters in full, with their attempts and bodies; exit code 1 if there are none."""
    found = run(find_letters(load_settings(), subscription, which))
    if view.json:
        print_json(
            [
                {
                    **_summary(letter),
                    "attempts": [attempt_summary(attempt) for attempt in found.attempts_of(letter)],
                    "body": _text(letter.record.body),
                }
                for letter in found.letters
            ]
        )
    elif not found.letters:
        say("Nothing found.")
    else:
        _print_in_full(found, view)
    if not found.letters:
        raise typer.Exit(1)


@command(
    app,
    filters=FILTERS,
    examples=("relay dead replay --id 01J8Z0QF7K", "relay dead replay --subscription bot --all --rate 20"),
    view=("json",),
)
def replay(
    *,
    subscription: SubscriptionOption = None,
    which: EventFilter,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    rate: Annotated[
        float | None, typer.Option(min=0.1, metavar="NUMBER", help="Events a second at most; Ctrl-C stops it.")
    ] = None,
    why: WhyOption = "",
    view: View,
) -> None:
    """Send dead letters back to their subscriptions, with all their attempts again.

    Exit code 1 if --id is given and no dead letter has it.
    """
    check_choice(which, _CHOICES, every=every)
    replayed = run(replay_letters(load_settings(), subscription, which, rate, why, dry_run=dry_run))
    _print_counts(replayed, ("replay", "sent back"), view, dry_run=dry_run)
    if which.event_ids and not replayed:
        raise typer.Exit(1)


@command(
    app,
    filters=FILTERS,
    examples=(
        "relay dead drop 'wrong deploy' --type 'call.*' --dry-run",
        "relay dead drop 'test data' --line +16465550123",
    ),
    view=("json",),
)
def drop(
    why: WhyArgument,
    *,
    subscription: SubscriptionOption = None,
    which: EventFilter,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    view: View,
) -> None:
    """Delete dead letters; the ledger keeps their number.

    Exit code 1 if --id is given and no dead letter has it.
    """
    check_choice(which, _CHOICES, every=every)
    dropped = run(drop_letters(load_settings(), subscription, which, why, dry_run=dry_run))
    _print_counts(dropped, ("drop", "dropped"), view, dry_run=dry_run)
    if which.event_ids and not dropped:
        raise typer.Exit(1)


def _print_in_full(found: Found, view: View) -> None:
    for number, letter in enumerate(found.letters):
        if number:
            say("")
        print_fields(f"Dead letter {letter.record.id}", _summary(letter), view, _LABELS)
        if attempts := found.attempts_of(letter):
            print_attempts("Its attempts, oldest first", attempts, view, of_one_delivery=True)
        say(_text(letter.record.body))


def _print_counts(counts: dict[str, int], words: tuple[str, str], view: View, *, dry_run: bool) -> None:
    """Print the counts by subscription; `words` are the verb, and what has happened after it."""
    verb, done = words
    if view.json:
        print_json(changed_or_would_be(verb, sum(counts.values()), dry_run=dry_run) | {"subscriptions": counts})
        return
    for name, count in counts.items():
        say(f"{name}: {count} {'would be ' if dry_run else ''}{done}")
    if not counts:
        say("Nothing found.")


def _summary(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    return {
        "id": record.id,
        "subscription": letter.subscription,
        "topic": letter.topic,
        "type": record.type,
        "line": record.line,
        "chat": record.chat,
        "accepted_at": record.at,
        "first_attempt_at": letter.first_at,
        "died_at": letter.at,
        "tries": letter.tries,
        "status": letter.status,
        "reason": letter.reason,
        "detail": letter.detail,
    }


def _text(body: bytes) -> str:
    return body.decode(errors="replace")
