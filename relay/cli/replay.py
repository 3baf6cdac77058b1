"""`relay replay`: a topic's history, sent to a push subscription again."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from relay.cli.filters import DryRunOption, LineOption, TypeOption, check_topic, line_meant, past_moment, pattern_meant
from relay.cli.output import JsonOption, console, counted, errors, print_json
from relay.cli.replay_view import Beginning, ending, nothing, print_replays, say_beginning, summary, survey_summary

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.topics.replays import Order, Replay

replay = typer.Typer(
    name="replay",
    help="Send a topic's history to a push subscription again; list and cancel such replays.",
    invoke_without_command=True,
    no_args_is_help=True,
)

_POLL_INTERVAL = 0.25  # seconds between two looks at how far a replay is


@replay.callback()
def start(
    context: typer.Context,
    *,
    topic: Annotated[str | None, typer.Option(help="Whose history.")] = None,
    to: Annotated[str | None, typer.Option(metavar="SUBSCRIPTION", help="Who is to get it.")] = None,
    since: Annotated[str | None, typer.Option(help="Only what was routed into the topic since: 2h, or a time.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what was routed before: 2h, or a time. Else: now.")] = None,
    event_type: TypeOption = None,
    line: LineOption = None,
    rate: Annotated[float, typer.Option(min=0.1, help="At most this many a second.")] = 50.0,
    dry_run: DryRunOption = False,
    follow: Annotated[
        bool | None, typer.Option("--follow/--no-follow", help="Watch it until it has ended; else: on a terminal.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send a topic's history to a push subscription again; list and cancel such replays."""
    if context.invoked_subcommand is not None:
        return
    from relay.parts import load_settings
    from relay.process.event_loop import run
    from relay.store.topics.history import HistoryFilter
    from relay.store.topics.replays import Order

    if topic is None or to is None:
        raise typer.BadParameter("say whose history, and who is to get it", param_hint="--topic and --to")
    event_type, line = pattern_meant(event_type), line_meant(line)
    moments = _moments(since, until)
    settings = load_settings()
    order = Order(topic, to, HistoryFilter(event_type, line), rate, _who())
    began = run(_begin(settings, order, moments, dry_run=dry_run))
    if not json:
        say_beginning(began)
    ended = None
    if began.replay and (follow if follow is not None else sys.stdout.isatty() and not json):
        ended = _watch(settings, began.replay.id)
    if json:
        shown = ended or began.replay
        print_json(summary(shown) if shown else survey_summary(began))
    elif ended:
        console.print(ending(ended), markup=False)
    if ended and ended.state in {"failed", "cancelled"}:
        raise typer.Exit(1)


@replay.command(name="list")
def list_(*, json: JsonOption = False) -> None:
    """Show the replays that run, and those that ended in the last week."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    replays, held = run(_read(load_settings()))
    if json:
        print_json([summary(one) for one in replays])
        return
    print_replays(replays, held)


@replay.command()
def cancel(replay_id: Annotated[str, typer.Argument(metavar="ID", help="Which one; relay replay list tells.")]) -> None:
    """Stop a replay; what its subscription's lane has got already is delivered."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    cancelled = run(_cancel(load_settings(), replay_id))
    console.print(
        f"Replay {replay_id} is cancelled; {cancelled.order.to} was given {counted(cancelled.sent, 'event')}."
    )


async def _begin(
    settings: Settings, order: Order, moments: tuple[float | None, float | None], *, dry_run: bool
) -> Beginning:
    from relay.config.file import read_config
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.topics.history import History
    from relay.store.topics.replays import MAX_RUNNING, Replays

    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        await check_topic(redis, config, order.topic)
        _check_subscription(config, order.to)
        history, replays = History(redis, order.topic), Replays(redis)
        extent = await history.extent()
        survey = await history.survey(await history.span(*moments), order.wanted)
        if not survey.matching:
            raise RelayError(nothing(order, survey, extent))
        if not dry_run and len(await replays.running()) >= MAX_RUNNING:
            raise RelayError(f"more than {MAX_RUNNING} at a time cannot run; wait for one to end, or cancel one")
        started = None if dry_run else await replays.start(order, survey, round(time.time() * 1000))
        return Beginning(order, survey, extent, not extent.reaches(moments[0]), started)


def _check_subscription(config: RelayConfig, name: str) -> None:
    from relay.core.errors import RelayError

    known = sorted(one.name for one in config.subscriptions)
    if name not in known:
        raise RelayError(f'no push subscription "{name}" in relay.toml (known: {", ".join(known) or "none"})')


def _moments(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    begin, end = past_moment(since, "--since"), past_moment(until, "--until")
    if begin is not None and end is not None and begin >= end:
        raise typer.BadParameter(f'"{since}" is not before "{until}"', param_hint="--since")
    return begin, end


def _watch(settings: Settings, replay_id: str) -> Replay | None:
    """Shows how far a replay is until it has ended; None if somebody stops looking."""
    from relay.process.event_loop import run

    try:
        return run(_follow(settings, replay_id))
    except KeyboardInterrupt:
        errors.print(f"Replay {replay_id} goes on; relay replay cancel {replay_id} stops it.")
        return None


async def _follow(settings: Settings, replay_id: str) -> Replay:
    from relay.parts import open_store
    from relay.store.lanes.suspensions import Suspensions
    from relay.store.topics.replays import Replays, State

    paused = _paused(settings)
    async with open_store(settings) as redis:
        with Progress(console=errors, transient=True) as progress:
            task = progress.add_task(replay_id)
            while True:
                found = _known(await Replays(redis).get(replay_id), replay_id)
                if found.state is not State.RUNNING:
                    return found
                waits = found.order.to in paused or await Suspensions(redis).is_suspended(found.order.to)
                description = f"{replay_id}: {found.order.to} is not delivering" if waits else replay_id
                progress.update(task, total=found.matching, completed=found.sent, description=description)
                await asyncio.sleep(_POLL_INTERVAL)


async def _read(settings: Settings) -> tuple[list[Replay], set[str]]:
    from relay.parts import open_store
    from relay.store.lanes.suspensions import Suspensions
    from relay.store.topics.replays import Replays

    async with open_store(settings) as redis:
        holds = Suspensions(redis)
        held = {*await holds.pauses(), *await holds.open_breakers(), *_paused(settings)}
        return await Replays(redis).all(), held


def _paused(settings: Settings) -> set[str]:
    """The subscriptions that relay.toml keeps paused."""
    from relay.config.file import read_config

    return {one.name for one in read_config(settings.relay_config).subscriptions if one.paused}


async def _cancel(settings: Settings, replay_id: str) -> Replay:
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.topics.replays import Replays, State

    async with open_store(settings) as redis:
        replays = Replays(redis)
        was_running = await replays.end(replay_id, State.CANCELLED, f"by {_who()}", round(time.time() * 1000))
        found = _known(await replays.get(replay_id), replay_id)
    if not was_running:
        raise RelayError(f"replay {replay_id} has ended already: {found.state}")
    return found


def _known(found: Replay | None, replay_id: str) -> Replay:
    from relay.core.errors import RelayError

    if found is None:
        raise RelayError(f'no replay "{replay_id}"; relay replay list shows those there are')
    return found


def _who() -> str:
    """Who gives the order, as far as this machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as containers have
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
