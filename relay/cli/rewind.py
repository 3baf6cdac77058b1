"""`relay rewind`: a consumer group moves back or forward in its topic (a seek)."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.filters import check_topic, parsed_past_time
from relay.cli.operator import WhyOption, record
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.core.errors import RelayError
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store import keys
from relay.store.driver.streams import id_before, order_of
from relay.store.topics.group_seek import Seek, groups_of, plan_seek, seek
from relay.store.topics.history import BEGINNING, Extent, History, id_at, ms_of

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis

app = commands()

_ID = re.compile(r"\d{1,16}-\d{1,19}")


@command(
    app,
    examples=(
        "relay rewind --topic support --group billing --to 2h --dry-run",
        "relay rewind --topic support --group billing --to end --yes",
    ),
)
def rewind(
    *,
    topic: Annotated[str, typer.Option(metavar="NAME", help="The topic that the group reads.")],
    group: Annotated[str, typer.Option(metavar="NAME", help="The consumer group; relay topics shows them.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="POSITION",
            help="Where the group continues: 2h or 7d (ago), a time, an entry id, start or end.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    why: WhyOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the effect; change nothing.")] = False,
    view: View,
) -> None:
    """Move a consumer group back or forward in its topic, after showing the effect."""
    target = _target(to)
    settings = load_settings()
    plan = run(_plan(settings, topic, group, target))
    if not view.json:
        _print_plan(plan, target, view)
    moves = not dry_run and not plan.move.is_noop
    if moves and not yes:
        if view.json or not sys.stdin.isatty():
            raise typer.BadParameter("without a terminal, --yes is needed to confirm the move", param_hint="--yes")
        typer.confirm("Move the group?", abort=True)
    if moves:
        run(_seek(settings, plan.move, why))
    if view.json:
        oldest = {"history_since": plan.extent.oldest_ms, "is_complete": plan.extent.reaches(target.ms)}
        print_json({**asdict(plan.move), "is_back": plan.move.is_back, **oldest, "dry_run": dry_run, "moved": moves})
    elif moves:
        say(f"{group} is moved.")


@dataclass(frozen=True, slots=True)
class _Target:
    """The position that was asked for."""

    after: str | None
    """The entry before it; None is the end."""
    ms: float | None
    """Its time, Unix milliseconds; None is the beginning."""
    is_entry: bool = False
    """True if an entry id was given, not a time."""


@dataclass(frozen=True, slots=True)
class _Plan:
    move: Seek
    extent: Extent


def _target(text: str) -> _Target:
    if text == "start":
        return _Target(BEGINNING, None)
    if text == "end":
        return _Target(None, float("inf"))
    if _ID.fullmatch(text):
        return _Target(id_before(text), ms_of(text), is_entry=True)
    ms = parsed_past_time(text, "--to")
    assert ms is not None  # noqa: S101  the text is not None
    return _Target(id_at(ms), ms)


async def _plan(settings: Settings, topic: str, group: str, target: _Target) -> _Plan:
    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        await check_topic(redis, config, topic)
        await _check_group(redis, topic, group)
        move = await plan_seek(redis, topic, group, target.after)
        if target.is_entry and target.after is not None and order_of(target.after) > order_of(move.last):
            raise RelayError(f'"{topic}" ends before that entry, at {move.last}; --to end skips everything stored')
        return _Plan(move, await History(redis, topic).extent())


async def _check_group(redis: Redis, topic: str, group: str) -> None:
    groups = await groups_of(redis, topic)
    is_lane = group.startswith(keys.PUSH_GROUP_PREFIX)
    if is_lane or (group not in groups and keys.push_group(group) in groups):
        name = group.removeprefix(keys.PUSH_GROUP_PREFIX)
        raise RelayError(
            f"{name} is a push subscription; relay replay --topic {topic} --to {name} sends it events again"
        )
    if group not in groups:
        pull = sorted(name for name in groups if not name.startswith(keys.PUSH_GROUP_PREFIX))
        raise RelayError(f'topic "{topic}" has no group "{group}" (pull groups: {", ".join(pull) or "none"})')


def _print_plan(plan: _Plan, target: _Target, view: View) -> None:
    move, extent = plan.move, plan.extent
    if move.is_noop:
        say(f"{move.group} is already at this position.")
        return
    say(f"{move.group} is {_position(move.current, view)}.")
    if move.is_back:
        effect = f"It would read {counted(move.events, 'event')} again"
    else:
        effect = f"It would skip {counted(move.events, 'event')}"
    following = f"the event of {_time(move.next, view)}" if move.next else "the next one that is routed"
    say(f"{effect}: its next event is {following}.")
    if not extent.reaches(target.ms) and extent.oldest_ms is not None:
        say(f"Events routed before {view.time(extent.oldest_ms)} are no longer stored.")
    if move.consumers:
        rows = [(consumer.name, consumer.before, consumer.beyond) for consumer in move.consumers]
        print_table("Pending events (read, not acknowledged)", ("consumer", "stay pending", "read again"), rows, view)


def _position(entry: str, view: View) -> str:
    return "at the beginning" if entry == BEGINNING else f"after the event of {_time(entry, view)}"


def _time(entry: str, view: View) -> str:
    return f"{view.time(ms_of(entry))} ({entry})"


async def _seek(settings: Settings, move: Seek, why: str) -> None:
    async with open_store(settings) as redis:
        target = f"{move.topic}/{move.group} from {move.current} to {move.after}"
        await record(redis, "rewind", target, move.events, why)
        await seek(redis, move)
