"""`relay replay`: a topic's history, sent to a push subscription again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands, with_options
from relay.cli.filters import DryRunOption, parsed_past_time
from relay.cli.operator import WhyOption, cli_principal
from relay.cli.output import View, counted, print_json, say
from relay.cli.progress import progress
from relay.cli.replay_one import send_one
from relay.cli.replay_view import (
    end_sentence,
    print_replays,
    print_start,
    summary,
    survey_summary,
)
from relay.cli.terminal import is_terminal
from relay.config.load import load_settings
from relay.core.event_filter import EventFilter
from relay.process.event_loop import run
from relay.services.context import open_context
from relay.services.deliveries import replays
from relay.services.deliveries.replays import Preview, ReplayState, Request, nothing_matches
from relay.store.topics.replays import Replay, State

if TYPE_CHECKING:
    from relay.config.settings import Settings

app = commands(
    "Send a topic's history to a push subscription again; list and cancel such replays.",
    examples=(
        "relay replay --topic support --to bot --since 2h --dry-run",
        "relay replay --topic support --to bot --type 'message.*' --rate 20",
        "relay replay --id 0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f --to bot",
        "relay replay list",
    ),
)
FILTERS = ("event_type", "line")

_POLL_INTERVAL = 0.25  # seconds between two reads of a replay's progress


def start(
    context: typer.Context,
    *,
    topic: Annotated[str | None, typer.Option(metavar="NAME", help="The topic with the history.")] = None,
    event_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Only this event; the topic may then be left out.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="NAME", help="The push subscription that receives it.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only events routed from this time on: 2h or 7d (ago), or 2026-09-14T09:15Z."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only events routed before this time.  [default: now]")
    ] = None,
    which: EventFilter,
    rate: Annotated[float, typer.Option(min=0.1, metavar="NUMBER", help="Events a second at most.")] = 50.0,
    dry_run: DryRunOption = False,
    why: WhyOption = "",
    follow: Annotated[
        bool | None,
        typer.Option("--follow/--no-follow", help="Wait for the end and show progress.  [default: on a terminal]"),
    ] = None,
    view: View,
) -> None:
    """Send a topic's history to a push subscription again; list and cancel such replays."""
    if context.invoked_subcommand is not None:
        return
    if event_id is not None:
        if since or until or dry_run or not which.is_any:
            raise typer.BadParameter(
                "it sends one event, and can be combined with --to, --topic, --why and --json only", param_hint="--id"
            )
        send_one(event_id, to, topic, why, view)
        return
    if topic is None or to is None:
        raise typer.BadParameter("both are needed", param_hint="--topic and --to")
    period = _period(since, until)
    settings = load_settings()
    found, started = run(_start(settings, Request(topic, to, which, *period, rate), why, dry_run=dry_run))
    if not view.json:
        print_start(found, started, view)
    ended = None
    if started and (follow if follow is not None else is_terminal() and not view.json):
        ended = _watch(settings, started.id)
    if view.json:
        shown = ended or started
        print_json(summary(shown) if shown else survey_summary(found))
    elif ended:
        say(end_sentence(ended))
    if ended and ended.state in {State.FAILED, State.CANCELLED}:
        raise typer.Exit(1)


app.callback(invoke_without_command=True)(with_options(start, FILTERS))


@command(app, "list", examples=("relay replay list", "relay replay list --json"))
def list_(*, view: View) -> None:
    """List running replays, and those that ended in the last week."""
    found = run(_read(load_settings()))
    if view.json:
        print_json([summary(each.replay) for each in found])
        return
    print_replays(found, view)


@command(
    app, examples=("relay replay cancel 3f9a01bc", "relay replay cancel $(relay replay list --json | jq -r .[0].id)")
)
def cancel(
    replay_id: Annotated[str, typer.Argument(metavar="ID", help="The replay's id; relay replay list shows it.")],
    *,
    why: WhyOption = "",
) -> None:
    """Stop a replay; events that it has already queued are still delivered."""
    cancelled = run(_cancel(load_settings(), replay_id, why))
    say(f"Replay {replay_id} is cancelled; {cancelled.order.to} was sent {counted(cancelled.sent, 'event')}.")


async def _start(settings: Settings, request: Request, why: str, *, dry_run: bool) -> tuple[Preview, Replay | None]:
    principal = cli_principal()
    async with open_context(settings) as context:
        found = await replays.preview(context, principal, request)
        if not found.survey.matching:
            raise nothing_matches(found)
        return found, None if dry_run else await replays.start(context, principal, request, why, of=found)


def _period(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    begin, end = parsed_past_time(since, "--since"), parsed_past_time(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise typer.BadParameter(f'"{since}" is not before "{until}"', param_hint="--since")
    return begin, end


def _watch(settings: Settings, replay_id: str) -> Replay | None:
    """Show the progress of a replay until it ends; None after Ctrl-C, which does not stop it."""
    try:
        return run(_follow(settings, replay_id))
    except KeyboardInterrupt:
        typer.echo(f"Replay {replay_id} continues; relay replay cancel {replay_id} stops it.", err=True)
        return None


async def _follow(settings: Settings, replay_id: str) -> Replay:
    async with open_context(settings) as context:
        with progress() as bars:
            task = bars.add_task(replay_id)
            while True:
                found = await replays.get(context, cli_principal(), replay_id)
                replay = found.replay
                if replay.state is not State.RUNNING:
                    return replay
                description = f"{replay_id}: {replay.order.to} is not delivering" if found.waits else replay_id
                bars.update(task, total=replay.matching, completed=replay.sent, description=description)
                await asyncio.sleep(_POLL_INTERVAL)


async def _read(settings: Settings) -> list[ReplayState]:
    async with open_context(settings) as context:
        return await replays.list_replays(context, cli_principal())


async def _cancel(settings: Settings, replay_id: str, why: str) -> Replay:
    async with open_context(settings) as context:
        return await replays.cancel(context, cli_principal(), replay_id, why)
