"""`relay dead`: dead letters, the deliveries that failed for good, of subscriptions and of pull groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import group_letters
from relay.cli.attempts import attempt_summary
from relay.cli.command import command, commands
from relay.cli.dead_view import print_counts, print_in_full, summary
from relay.cli.filters import AllOption, DryRunOption, GroupOption, SubscriptionOption, check_choice, parsed_group
from relay.cli.operator import WhyArgument, WhyOption, cli_principal
from relay.cli.output import View, print_json, print_table, say
from relay.cli.progress import progress
from relay.cli.remote import calls
from relay.cli.remote.access import Via
from relay.config.load import load_settings
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import dead_letters
from relay.services.deliveries.dead_letters import Choice, DeadLetterInFull, Progress
from relay.services.page import MAX_LIMIT
from relay.services.topics.history.view import shown_body
from relay.services.topics.pull import dead_letters as of_groups

if TYPE_CHECKING:
    from rich.progress import TaskID

    from relay.cli.remote.access import Access
    from relay.config.settings import Settings
    from relay.store.keys import GroupName
    from relay.store.lanes.dead_letters import DeadLetter

app = commands(
    "List, show, replay and drop dead letters: deliveries that failed for good, of subscriptions or of a pull group.",
    examples=(
        "relay dead list --since 2h",
        "relay dead replay --subscription bot --all",
        "relay dead list --group support/billing",
    ),
)
FILTERS = ("event_id", "event_type", "line", "chat", "reason", "since", "until")
_CHOICES = ("--id", "--type", "--line", "--chat", "--reason", "--since", "--until")


@command(
    app, "list", filters=FILTERS, examples=("relay dead list --since 2h", "relay dead list --type 'message.*' --json")
)
def list_(
    *,
    subscription: SubscriptionOption = None,
    group: GroupOption = None,
    which: EventFilter,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Show at most this many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Continue a list, by the cursor that it printed.")
    ] = None,
    via: Via,
    view: View,
) -> None:
    """List dead letters of subscriptions, oldest first, and the number of those of pull groups; or those of a group.

    If there are more, the cursor for the next ones is printed on standard error.
    """
    access, name = via.remote(), _group(group, subscription)
    if name is not None:
        _check_redis(access)
        group_letters.print_list(load_settings(), name, which, view)
        return
    letters, rest = run(_list(access, subscription, which, cursor, limit))
    if view.json:
        print_json([summary(letter) for letter in letters])
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
    if access is None and subscription is None and which.is_any and cursor is None:
        for name, number in run(_numbers(load_settings())).items():
            typer.echo(f"The pull group {name} has {number} as well; show them with --group {name}", err=True)


@command(app, filters=FILTERS, examples=("relay dead show --id 01J8Z0QF7K", "relay dead show --reason 404 --utc"))
def show(*, subscription: SubscriptionOption = None, group: GroupOption = None, which: EventFilter, view: View) -> None:
    """Show dead letters in full, with their attempts and bodies; exit code 1 if there are none."""
    settings, name = load_settings(), _group(group, subscription)
    if name is not None:
        group_letters.print_in_full(settings, name, which, view)
        return
    found = run(_find(settings, subscription, which))
    if view.json:
        print_json(
            [
                {
                    **summary(each.letter),
                    "attempts": [attempt_summary(attempt) for attempt in each.attempts],
                    "body": str(shown_body(settings, each.letter.record.body)),
                }
                for each in found
            ]
        )
    elif not found:
        say("Nothing found.")
    else:
        print_in_full(settings, found, view)
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
    group: GroupOption = None,
    which: EventFilter,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    rate: Annotated[
        float | None, typer.Option(min=0.1, metavar="NUMBER", help="Events per second, at most; Ctrl-C stops it.")
    ] = None,
    why: WhyOption = "",
    via: Via,
    view: View,
) -> None:
    """Send dead letters to their subscriptions again, with a full schedule of attempts, or back to their pull group.

    A pull group gets them next, as for the first time, and no other group gets them. This needs the topic: events that
    it no longer keeps stay dead letters. Exit code 1 if --id is given and no dead letter has it.
    """
    check_choice(which, _CHOICES, every=every)
    access, name = via.remote(), _group(group, subscription)
    if name is not None:
        _check_redis(access)
        if rate is not None:
            raise typer.BadParameter("a pull group has its own pace; leave --rate out", param_hint="--rate")
        choice = of_groups.Choice(name, which)
        found = group_letters.replay(load_settings(), choice, why, view, dry_run=dry_run)
        _fail_without(found, which)
        return
    if access is None:
        replayed = run(_replay(load_settings(), Choice(subscription, which), rate, why, dry_run=dry_run))
    elif rate is not None:
        raise typer.BadParameter("over the API, all are sent back at once; leave it out", param_hint="--rate")
    elif not why:
        raise typer.BadParameter("over the API, a replay needs its reason", param_hint="--why")
    else:
        replayed = run(_replay_remotely(access, subscription, which, why, every=every, dry_run=dry_run))
    print_counts(replayed, ("replay", "sent back"), view, dry_run=dry_run)
    _fail_without(sum(replayed.values()), which)


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
    group: GroupOption = None,
    which: EventFilter,
    every: AllOption = False,
    dry_run: DryRunOption = False,
    view: View,
) -> None:
    """Delete dead letters of subscriptions or of a pull group; their number is kept.

    Exit code 1 if --id is given and no dead letter has it.
    """
    check_choice(which, _CHOICES, every=every)
    name = _group(group, subscription)
    if name is not None:
        choice = of_groups.Choice(name, which)
        _fail_without(group_letters.drop(load_settings(), choice, why, view, dry_run=dry_run), which)
        return
    dropped = run(_drop(load_settings(), Choice(subscription, which), why, dry_run=dry_run))
    print_counts(dropped, ("drop", "dropped"), view, dry_run=dry_run)
    _fail_without(sum(dropped.values()), which)


def _group(group: str | None, subscription: str | None) -> GroupName | None:
    if group is not None and subscription is not None:
        raise typer.BadParameter("give either --subscription or --group", param_hint="--group")
    return None if group is None else parsed_group(group, "--group")


def _fail_without(found: int, which: EventFilter) -> None:
    if which.event_ids and not found:
        raise typer.Exit(1)


def _check_redis(access: Access | None) -> None:
    if access is not None:
        text = "this needs Redis; the API has them at /topics/TOPIC/groups/GROUP/dead-letters"
        raise typer.BadParameter(text, param_hint="--group")


async def _numbers(settings: Settings) -> dict[GroupName, int]:
    """Return the number of dead letters of each pull group."""
    async with open_context(settings) as context:
        return await of_groups.numbers(context, cli_principal())


def _tell_rest(cursor: str | None) -> None:
    if cursor is not None:
        typer.echo(f"There are more; continue with --cursor {cursor}", err=True)


async def _list(
    access: Access | None, subscription: str | None, which: EventFilter, cursor: str | None, limit: int
) -> tuple[list[DeadLetter], str | None]:
    """Return dead letters, and the cursor of those after."""
    if access is not None:
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
    return await calls.replay_dead_letters(access, subscription, which, why, every=every, dry_run=dry_run)


async def _drop(settings: Settings, choice: Choice, why: str, *, dry_run: bool) -> dict[str, int]:
    async with open_context(settings) as context:
        return await dead_letters.drop(context, cli_principal(), choice, why, dry_run=dry_run)
