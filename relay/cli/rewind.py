"""`relay rewind`: a pull group reads events again, or skips some."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.filters import check_topic, past_moment
from relay.cli.output import JsonOption, console, counted, local_time, print_json, print_table

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.config.settings import Settings
    from relay.store.topics.group_seek import Seek
    from relay.store.topics.history import Extent

_ID = re.compile(r"\d{1,16}-\d{1,19}")


def rewind(
    *,
    topic: Annotated[str, typer.Option(help="The topic that the group reads.")],
    group: Annotated[str, typer.Option(help="The consumer group; relay topics shows them.")],
    to: Annotated[
        str, typer.Option(help="Where it goes on: 2h (ago), a time (of routing), an entry's id, start, or end.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it would mean.")] = False,
    json: JsonOption = False,
) -> None:
    """Let a pull group read events of its topic again, or skip some; shows first what that means."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    target = _target(to)
    settings = load_settings()
    way = run(_plan(settings, topic, group, target))
    if not json:
        _say(way, target)
    moves = not dry_run and not way.move.is_nothing
    if moves and not yes:
        if json or not sys.stdin.isatty():
            raise typer.BadParameter("say that it is meant: nobody can be asked here", param_hint="--yes")
        typer.confirm("Go on?", abort=True)
    if moves:
        run(_go(settings, way.move))
    if json:
        oldest = {"history_since": way.extent.oldest_ms, "is_complete": way.extent.reaches(target.ms)}
        print_json({**asdict(way.move), "is_back": way.move.is_back, **oldest, "moved": moves})
    elif moves:
        console.print(f"{group} goes on there.")


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a group is to go on."""

    after: str | None
    """After this entry; None is the end."""
    ms: float | None
    """The moment that was asked for, Unix milliseconds; None is the beginning."""
    is_entry: bool = False
    """Whether an entry was named, not a moment."""


@dataclass(frozen=True, slots=True)
class _Way:
    move: Seek
    extent: Extent


def _target(text: str) -> _Target:
    from relay.store.driver.streams import id_before
    from relay.store.topics.history import BEGINNING, id_at, ms_of

    if text == "start":
        return _Target(BEGINNING, None)
    if text == "end":
        return _Target(None, float("inf"))
    if _ID.fullmatch(text):
        return _Target(id_before(text), ms_of(text), is_entry=True)
    ms = past_moment(text, "--to")
    assert ms is not None  # noqa: S101  there is a text
    return _Target(id_at(ms), ms)


async def _plan(settings: Settings, topic: str, group: str, target: _Target) -> _Way:
    from relay.config.file import read_config
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.driver.streams import order_of
    from relay.store.topics.group_seek import plan_seek
    from relay.store.topics.history import History

    config = read_config(settings.relay_config)
    async with open_store(settings) as redis:
        await check_topic(redis, config, topic)
        await _check_group(redis, topic, group)
        move = await plan_seek(redis, topic, group, target.after)
        if target.is_entry and target.after is not None and order_of(target.after) > order_of(move.last):
            raise RelayError(f'"{topic}" ends before that entry, with {move.last}; --to end skips all that is there')
        return _Way(move, await History(redis, topic).extent())


async def _check_group(redis: Redis, topic: str, group: str) -> None:
    from relay.core.errors import RelayError
    from relay.store import keys
    from relay.store.topics.group_seek import groups_of

    groups = await groups_of(redis, topic)
    is_lane = group.startswith(keys.PUSH_GROUP_PREFIX)
    if is_lane or (group not in groups and keys.push_group(group) in groups):
        name = group.removeprefix(keys.PUSH_GROUP_PREFIX)
        raise RelayError(
            f"{name} is a push subscription; relay replay --topic {topic} --to {name} sends it events again"
        )
    if group not in groups:
        pull = sorted(one for one in groups if not one.startswith(keys.PUSH_GROUP_PREFIX))
        raise RelayError(f'topic "{topic}" has no group "{group}" (pull groups: {", ".join(pull) or "none"})')


def _say(way: _Way, target: _Target) -> None:
    move, extent = way.move, way.extent
    if move.is_nothing:
        console.print(f"{move.group} stands there already.")
        return
    console.print(f"{move.group} stands {_place(move.stands)}.")
    if move.is_back:
        what = f"It would be given {counted(move.events, 'event')} again"
    else:
        what = f"It would skip {counted(move.events, 'event')}"
    following = f"goes on with that of {_time(move.next)}" if move.next else "goes on with what is routed from now on"
    console.print(f"{what}: it {following}.")
    if not extent.reaches(target.ms) and extent.oldest_ms is not None:
        console.print(f"What was routed before {local_time(extent.oldest_ms)} is no longer kept.")
    if move.holders:
        rows = [(one.name, one.before, one.beyond) for one in move.holders]
        print_table("Given out and not acknowledged", ("consumer", "stays with it", "is given out again"), rows)


def _place(entry: str) -> str:
    from relay.store.topics.history import BEGINNING

    return "at the beginning" if entry == BEGINNING else f"after the event of {_time(entry)}"


def _time(entry: str) -> str:
    from relay.store.topics.history import ms_of

    return f"{local_time(ms_of(entry))} ({entry})"


async def _go(settings: Settings, move: Seek) -> None:
    from relay.parts import open_store
    from relay.store.topics.group_seek import seek

    async with open_store(settings) as redis:
        await seek(redis, move)
