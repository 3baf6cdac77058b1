"""`relay replay`: a topic's history, sent to a push subscription again."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from relay.cli.output import JsonOption, console, counted, errors, local_time, print_json, print_table
from relay.cli.which import DryRunOption, LineOption, TypeOption, check_type_and_line, past_moment

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.core.config import RelayConfig
    from relay.settings import Settings
    from relay.store.history import Extent, Survey
    from relay.store.replays import Order, Replay

replay = typer.Typer(
    name="replay",
    help="Send a topic's history to a push subscription again; list and cancel such replays.",
    invoke_without_command=True,
    no_args_is_help=True,
)

_LOOK = 0.25  # seconds between two looks at how far a replay is


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
    from relay.event_loop import run
    from relay.parts import load_settings
    from relay.store.history import Wanted
    from relay.store.replays import Order

    if topic is None or to is None:
        raise typer.BadParameter("say whose history, and who is to get it", param_hint="--topic and --to")
    check_type_and_line(event_type, line)
    moments = past_moment(since, "--since"), past_moment(until, "--until")
    if None not in moments and moments[0] >= moments[1]:  # type: ignore[operator]  # neither is None
        raise typer.BadParameter(f'"{since}" is not before "{until}"', param_hint="--since")
    settings = load_settings()
    order = Order(topic, to, Wanted(event_type, line), rate, _who())
    began = run(_begin(settings, order, moments, dry_run=dry_run))
    if not json:
        _say_beginning(began)
    ended = None
    if began.replay and (follow if follow is not None else sys.stdout.isatty() and not json):
        ended = _watch(settings, began.replay.id)
    if json:
        shown = ended or began.replay
        print_json(summary(shown) if shown else _survey_summary(began))
    elif ended:
        console.print(_ending(ended))
    if ended and ended.state in {"failed", "cancelled"}:
        raise typer.Exit(1)


@replay.command(name="list")
def list_(*, json: JsonOption = False) -> None:
    """Show the replays that run, and those that ended in the last week."""
    from relay.event_loop import run
    from relay.parts import load_settings

    replays, held = run(_read(load_settings()))
    if json:
        print_json([summary(one) for one in replays])
        return
    columns = ("id", "state", "topic", "to", "wanted", "sent", "of", "rate", "started", "ended", "by", "note")
    print_table("Replays", columns, [_row(one, is_held=one.order.to in held) for one in replays])


@replay.command()
def cancel(replay_id: Annotated[str, typer.Argument(metavar="ID", help="Which one; relay replay list tells.")]) -> None:
    """Stop a replay; what its subscription's lane has got already is delivered."""
    from relay.event_loop import run
    from relay.parts import load_settings

    cancelled = run(_cancel(load_settings(), replay_id))
    console.print(
        f"Replay {replay_id} is cancelled; {cancelled.order.to} was given {counted(cancelled.sent, 'event')}."
    )


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What there is to send, and the replay that was started, if it was."""

    order: Order
    survey: Survey
    extent: Extent
    misses: bool
    """Whether the history does not go back as far as was asked."""
    replay: Replay | None


async def _begin(
    settings: Settings, order: Order, moments: tuple[float | None, float | None], *, dry_run: bool
) -> _Beginning:
    from relay.config_file import read_config
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.history import History
    from relay.store.replays import MOST_RUNNING, Replays

    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        await _check_names(redis, config, order)
        history, replays = History(redis, order.topic), Replays(redis)
        extent = await history.extent()
        survey = await history.survey(await history.span(*moments), order.wanted)
        if not survey.matching:
            raise RelayError(_nothing(order, survey, extent))
        if not dry_run and len(await replays.running()) >= MOST_RUNNING:
            raise RelayError(f"{MOST_RUNNING} replays are running; wait for one to end, or cancel one")
        started = None if dry_run else await replays.start(order, survey, round(time.time() * 1000))
        return _Beginning(order, survey, extent, not extent.reaches(moments[0]), started)


async def _check_names(redis: Redis, config: RelayConfig, order: Order) -> None:
    from relay.core.errors import RelayError
    from relay.store.topics import topic_names

    topics = await topic_names(redis, (topic.name for topic in config.topics))
    if order.topic not in topics:
        raise RelayError(f'no topic "{order.topic}" (known: {", ".join(topics) or "none"})')
    known = sorted(one.name for one in config.subscriptions)
    if order.to not in known:
        raise RelayError(f'no push subscription "{order.to}" in relay.toml (known: {", ".join(known) or "none"})')


def _nothing(order: Order, survey: Survey, extent: Extent) -> str:
    if survey.events:
        return f'none of the {counted(survey.events, "event")} of "{order.topic}" in that time is wanted'
    if extent.oldest_ms is None:
        return f'topic "{order.topic}" has no events'
    return f'topic "{order.topic}" has no events of that time; its oldest one is of {local_time(extent.oldest_ms)}'


def _say_beginning(began: _Beginning) -> None:
    from relay.core.durations import format_duration

    order, survey = began.order, began.survey
    lasts = format_duration(survey.matching / order.rate)
    if survey.first_ms is not None and survey.last_ms is not None:
        console.print(
            f"{order.topic} has {counted(survey.events, 'event')} from {local_time(survey.first_ms)} to "
            f"{local_time(survey.last_ms)}; {survey.matching} of them are wanted."
        )
    if began.misses and began.extent.oldest_ms is not None:
        console.print(f"What was routed before {local_time(began.extent.oldest_ms)} is no longer kept.")
    if began.replay is None:
        console.print(f"They would be sent to {order.to} in {lasts} or more.")
        return
    console.print(f"Replay {began.replay.id} sends them to {order.to}, in {lasts} or more.")
    console.print(f"relay replay list shows how far it is, relay replay cancel {began.replay.id} stops it.")


def _watch(settings: Settings, replay_id: str) -> Replay | None:
    """Shows how far a replay is until it has ended; None if somebody stops looking."""
    from relay.event_loop import run

    try:
        return run(_follow(settings, replay_id))
    except KeyboardInterrupt:
        errors.print(f"Replay {replay_id} goes on; relay replay cancel {replay_id} stops it.")
        return None


async def _follow(settings: Settings, replay_id: str) -> Replay:
    from relay.parts import open_store
    from relay.store.holds import Holds
    from relay.store.replays import Replays, State

    async with open_store(settings) as redis:
        with Progress(console=errors, transient=True) as progress:
            task = progress.add_task(replay_id)
            while True:
                found = _known(await Replays(redis).get(replay_id), replay_id)
                if found.state is not State.RUNNING:
                    return found
                waits = await Holds(redis).is_held(found.order.to)
                description = f"{replay_id}: {found.order.to} is not delivering" if waits else replay_id
                progress.update(task, total=found.matching, completed=found.sent, description=description)
                await asyncio.sleep(_LOOK)


async def _read(settings: Settings) -> tuple[list[Replay], set[str]]:
    from relay.parts import open_store
    from relay.store.holds import Holds
    from relay.store.replays import Replays

    async with open_store(settings) as redis:
        holds = Holds(redis)
        return await Replays(redis).all(), {*await holds.pauses(), *await holds.trips()}


async def _cancel(settings: Settings, replay_id: str) -> Replay:
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.replays import Replays, State

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


def _ending(ended: Replay) -> str:
    note = f" ({ended.reason})" if ended.reason else ""
    return f"Replay {ended.id} is {ended.state}{note}: {ended.order.to} was given {counted(ended.sent, 'event')}."


def _row(one: Replay, *, is_held: bool) -> tuple[object, ...]:
    order, wanted = one.order, one.order.wanted
    waits = "waits: the lane is not delivering" if is_held and one.state == "running" else ""
    ended = local_time(one.ended_ms) if one.ended_ms else ""
    meant = " ".join(filter(None, (wanted.event_type, wanted.line))) or "all"
    progress = (one.sent, one.matching, f"{order.rate:g}/s")
    return (
        one.id,
        one.state,
        order.topic,
        order.to,
        meant,
        *progress,
        local_time(one.started_ms),
        ended,
        order.by,
        (one.reason or waits),
    )


def summary(one: Replay) -> dict[str, Any]:
    """A replay in JSON."""
    return {
        "id": one.id,
        "state": one.state,
        "topic": one.order.topic,
        "subscription": one.order.to,
        "type": one.order.wanted.event_type,
        "line": one.order.wanted.line,
        "rate": one.order.rate,
        "by": one.order.by,
        "events": one.events,
        "matching": one.matching,
        "seen": one.seen,
        "sent": one.sent,
        "missed": one.missed,
        "after": one.span.after,
        "end": one.span.end,
        "cursor": one.cursor,
        "reason": one.reason,
        "started_at": one.started_ms,
        "ended_at": one.ended_ms,
    }


def _survey_summary(began: _Beginning) -> dict[str, Any]:
    survey = began.survey
    return {
        "topic": began.order.topic,
        "subscription": began.order.to,
        "events": survey.events,
        "matching": survey.matching,
        "first_at": survey.first_ms,
        "last_at": survey.last_ms,
        "history_since": began.extent.oldest_ms,
        "is_complete": not began.misses,
    }
