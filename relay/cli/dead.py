"""`relay dead`: dead letters, the deliveries that failed for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.attempts import attempt_summary, print_attempts
from relay.cli.command import command, commands
from relay.cli.filters import AllOption, DryRunOption, SubscriptionOption, check_choice
from relay.cli.operator import WhyArgument, WhyOption, cli_principal
from relay.cli.output import View, changed_or_would_be, print_fields, print_json, print_table, say
from relay.cli.progress import progress
from relay.cli.remote.access import Via
from relay.config.load import load_settings
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import dead_letters
from relay.services.deliveries.dead_letters import Choice, DeadLetterInFull, Progress
from relay.services.page import MAX_LIMIT
from relay.services.topics.history.view import shown_body

if TYPE_CHECKING:
    from rich.progress import TaskID

    from relay.cli.remote.access import Access
    from relay.config.settings import Settings
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
def list_(
    *,
    subscription: SubscriptionOption = None,
    which: EventFilter,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Show this many at most.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on after the last one, as its last line says.")
    ] = None,
    via: Via,
    view: View,
) -> None:
    """List dead letters, oldest first.

    If there are more, the cursor of the next ones is told on standard error.
    """
    letters, rest = run(_list(via.remote(), subscription, which, cursor, limit))
    if view.json:
        print_json([_summary(letter) for letter in letters])
        _tell_rest(rest)
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
    print_table(f"Dead letters: {len(rows)}{'' if rest is None else ', and more'}", columns, rows, view)
    _tell_rest(rest)


@command(app, filters=FILTERS, examples=("relay dead show --id 01J8Z0QF7K", "relay dead show --reason 404 --utc"))
def show(*, subscription: SubscriptionOption = None, which: EventFilter, view: View) -> None:
    """Show dead letters in full, with their attempts and bodies; exit code 1 if there are none."""
    settings = load_settings()
    found = run(_find(settings, subscription, which))
    if view.json:
        print_json(
            [
                {
                    **_summary(each.letter),
                    "attempts": [attempt_summary(attempt) for attempt in each.attempts],
                    "body": str(shown_body(settings, each.letter.record.body)),
                }
                for each in found
            ]
        )
    elif not found:
        say("Nothing found.")
    else:
        _print_in_full(settings, found, view)
    if not found:
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
    via: Via,
    view: View,
) -> None:
    """Send dead letters back to their subscriptions, with all their attempts again.

    Exit code 1 if --id is given and no dead letter has it.
    """
    check_choice(which, _CHOICES, every=every)
    access = via.remote()
    if access is None:
        replayed = run(_replay(load_settings(), Choice(subscription, which), rate, why, dry_run=dry_run))
    elif rate is not None:
        raise typer.BadParameter("over the API, all are sent back at once; leave it out", param_hint="--rate")
    elif not why:
        raise typer.BadParameter("over the API, a replay needs its reason", param_hint="--why")
    else:
        replayed = run(_replay_remotely(access, subscription, which, why, every=every, dry_run=dry_run))
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
    dropped = run(_drop(load_settings(), Choice(subscription, which), why, dry_run=dry_run))
    _print_counts(dropped, ("drop", "dropped"), view, dry_run=dry_run)
    if which.event_ids and not dropped:
        raise typer.Exit(1)


def _print_in_full(settings: Settings, found: list[DeadLetterInFull], view: View) -> None:
    for number, each in enumerate(found):
        if number:
            say("")
        print_fields(f"Dead letter {each.letter.record.id}", _summary(each.letter), view, _LABELS)
        if each.attempts:
            print_attempts("Its attempts, oldest first", each.attempts, view, of_one_delivery=True)
        say(str(shown_body(settings, each.letter.record.body)))


def _tell_rest(cursor: str | None) -> None:
    if cursor is not None:
        typer.echo(f"There are more; go on with --cursor {cursor}", err=True)


async def _list(
    access: Access | None, subscription: str | None, which: EventFilter, cursor: str | None, limit: int
) -> tuple[list[DeadLetter], str | None]:
    """Return dead letters, and the cursor of those after."""
    if access is not None:
        from relay.cli.remote import calls  # noqa: PLC0415  with the HTTP client, when it is needed

        return await calls.dead_letters(access, subscription, which, cursor, limit)
    letters: list[DeadLetter] = []
    async with open_context(load_settings()) as context:
        while True:
            size = min(limit - len(letters), MAX_LIMIT)
            page = await dead_letters.search(context, cli_principal(), subscription, which, cursor, size)
            letters += page.items
            cursor = page.next
            if cursor is None or len(letters) >= limit:
                return letters, cursor


async def _find(settings: Settings, subscription: str | None, which: EventFilter) -> list[DeadLetterInFull]:
    async with open_context(settings) as context:
        letters = [letter async for letter in dead_letters.every(context, cli_principal(), subscription, which)]
        return await dead_letters.in_full(context, cli_principal(), letters)


async def _replay(settings: Settings, choice: Choice, rate: float | None, why: str, *, dry_run: bool) -> dict[str, int]:
    tasks: dict[str, TaskID] = {}
    async with open_context(settings) as context:
        with progress(disable=rate is None) as bars:

            def show(at: Progress) -> None:
                if at.subscription not in tasks:
                    tasks[at.subscription] = bars.add_task(at.subscription, total=at.total)
                bars.update(tasks[at.subscription], completed=at.done)

            return await dead_letters.replay(
                context, cli_principal(), choice, why, rate=rate, dry_run=dry_run, progress=show
            )


async def _replay_remotely(
    access: Access, subscription: str | None, which: EventFilter, why: str, *, every: bool, dry_run: bool
) -> dict[str, int]:
    from relay.cli.remote import calls  # noqa: PLC0415  with the HTTP client, when it is needed

    return await calls.replay_dead_letters(access, subscription, which, why, every=every, dry_run=dry_run)


async def _drop(settings: Settings, choice: Choice, why: str, *, dry_run: bool) -> dict[str, int]:
    async with open_context(settings) as context:
        return await dead_letters.drop(context, cli_principal(), choice, why, dry_run=dry_run)


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
