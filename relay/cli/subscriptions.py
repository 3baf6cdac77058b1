"""`relay subscriptions`: how the push subscriptions do, and stopping and starting them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli.output import JsonOption, console, counted, local_time, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.config.settings import Settings
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.store.lanes.ledger import LaneLedger
    from relay.store.lanes.suspensions import Pause

subscriptions = typer.Typer(
    name="subscriptions", help="The push subscriptions' lanes: list, pause, resume, drop.", no_args_is_help=True
)

_HELD_UP = "holding up chats"

NameArgument = Annotated[str, typer.Argument(help="The subscription's name.")]


@dataclass(frozen=True, slots=True)
class _Row:
    """How one lane does."""

    subscription: str
    state: str
    """`delivering`, `holding up chats`, `paused`, `breaker open` or `removed`."""
    waiting: int
    retrying: int
    dead: int
    since_ms: int | None
    next_probe_ms: int | None
    why: str


@dataclass(frozen=True, slots=True)
class _Held:
    """What keeps one lane from sending."""

    pause: Pause | None
    trip: OpenBreaker | None
    chats: int


@subscriptions.command(name="list")
def list_(*, json: JsonOption = False) -> None:
    """Show whether each lane delivers, and why not; exit code 1 if one does not."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    rows = run(_rows(load_settings()))
    if json:
        print_json([asdict(row) for row in rows])
    else:
        columns = ("subscription", "state", "waiting", "retrying", "dead", "since", "next probe", "why")
        print_table("Lanes", columns, [_shown(row) for row in rows])
    if any(row.state in {"paused", "breaker open", _HELD_UP} for row in rows):
        raise typer.Exit(1)


@subscriptions.command()
def pause(name: NameArgument, *, reason: Annotated[str, typer.Option(help="Why, for whoever looks.")] = "") -> None:
    """Stop delivering to a subscription; its events wait in its topic."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    is_new = run(_pause(load_settings(), name, reason or "relay subscriptions pause"))
    console.print(f"{name} is paused." if is_new else f"{name} was paused already.")


@subscriptions.command()
def resume(name: NameArgument) -> None:
    """Go on delivering to a subscription that was paused, be it by a person or by its 410."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    was_paused = run(_resume(load_settings(), name))
    console.print(f"{name} goes on." if was_paused else f"{name} was not paused.")


@subscriptions.command()
def drop(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Also if events wait in it, or dead letters.")] = False,
) -> None:
    """Forget a lane whose subscription has left relay.toml, with everything that it is owed."""
    from relay.parts import load_settings
    from relay.process.event_loop import run

    lost = run(_drop(load_settings(), name, even_with_events=yes))
    console.print(f"{name} is forgotten, with {lost} events.")


def _shown(row: _Row) -> tuple[object, ...]:
    times = [local_time(ms) if ms else "" for ms in (row.since_ms, row.next_probe_ms)]
    return row.subscription, row.state, row.waiting, row.retrying, row.dead, *times, row.why


async def _rows(settings: Settings) -> list[_Row]:
    from relay.config.file import read_config
    from relay.parts import open_store
    from relay.store.lanes.ledger import Ledger
    from relay.store.lanes.suspensions import Suspensions

    config = read_config(settings.relay_config)
    wanted = {one.name: one.paused for one in config.subscriptions}
    async with open_store(settings) as redis:
        holds = Suspensions(redis)
        pauses, trips, ledger = await holds.pauses(), await holds.open_breakers(), await Ledger(redis).lanes()
        blocked = {lane.subscription: await holds.blocked_chats(lane.subscription) for lane in ledger}
    return [
        _row(
            lane, wanted, _Held(pauses.get(lane.subscription), trips.get(lane.subscription), blocked[lane.subscription])
        )
        for lane in ledger
    ]


def _row(lane: LaneLedger, wanted: dict[str, bool], held: _Held) -> _Row:
    state, since, probe, why = "delivering", None, None, ""
    if lane.subscription not in wanted:
        state, why = "removed", "it stands no longer in relay.toml; relay subscriptions drop forgets it"
    elif wanted[lane.subscription]:
        state, why = "paused", "relay.toml says so"
    elif (pause := held.pause) is not None:
        state, since, why = "paused", pause.at_ms, pause.reason
    elif (trip := held.trip) is not None:
        state, since, probe, why = "breaker open", trip.opened_ms, trip.probe_ms, trip.reason
    elif held.chats:
        state, why = _HELD_UP, f"dead letters hold up {counted(held.chats, 'chat')}; relay dead list shows them"
    return _Row(lane.subscription, state, lane.waiting, lane.retrying, lane.dead, since, probe, why)


async def _pause(settings: Settings, name: str, reason: str) -> bool:
    from relay.parts import open_store
    from relay.store.lanes.suspensions import Suspensions

    _known(settings, name)
    async with open_store(settings) as redis:
        return await Suspensions(redis).pause(name, reason, round(time.time() * 1000))


async def _resume(settings: Settings, name: str) -> bool:
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.lanes.suspensions import Suspensions

    subscription = _known(settings, name)
    async with open_store(settings) as redis:
        was_paused = await Suspensions(redis).resume(name)
    if subscription.paused:
        raise RelayError(f"{settings.relay_config} says that {name} is paused; take that out of it")
    return was_paused


def _known(settings: Settings, name: str) -> Any:
    """The subscription of that name."""
    from relay.config.file import read_config

    subscriptions = {one.name: one for one in read_config(settings.relay_config).subscriptions}
    if name not in subscriptions:
        raise _no_such(name, subscriptions, str(settings.relay_config))
    return subscriptions[name]


async def _drop(settings: Settings, name: str, *, even_with_events: bool) -> int:
    from relay.config.file import read_config
    from relay.core.errors import RelayError
    from relay.parts import open_store
    from relay.store.lanes.ledger import Ledger
    from relay.store.lanes.position import drop_lane

    if name in {one.name for one in read_config(settings.relay_config).subscriptions}:
        raise RelayError(f"{name} stands in {settings.relay_config}; take it out first, or its lane begins anew")
    async with open_store(settings) as redis:
        ledger = {lane.subscription: lane for lane in await Ledger(redis).lanes()}
        if name not in ledger:
            raise _no_such(name, ledger, "Redis")
        lane = ledger[name]
        owed = lane.waiting + lane.retrying + lane.dead
        if owed and not even_with_events:
            raise RelayError(
                f"{name} has {lane.waiting} events waiting, {lane.retrying} retrying and {lane.dead} dead letters; "
                "--yes drops them, too"
            )
        await drop_lane(redis, name)
    return owed


def _no_such(name: str, known: Collection[str], where: str) -> Exception:
    from relay.core.errors import RelayError

    return RelayError(f'no subscription "{name}" in {where} (known: {", ".join(sorted(known)) or "none"})')
