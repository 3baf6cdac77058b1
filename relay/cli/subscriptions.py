"""`relay subscriptions`: the push subscriptions, whether they deliver, and pausing, resuming and dropping them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli.command import command, commands
from relay.cli.operator import WhyOption, operator, record
from relay.cli.output import View, counted, print_json, print_table, say
from relay.config.file import read_config
from relay.config.load import load_settings
from relay.core.errors import RelayError
from relay.parts import open_store
from relay.process.event_loop import run
from relay.store.lanes.ledger import LaneLedger, Ledger
from relay.store.lanes.position import drop_lane
from relay.store.lanes.suspensions import Pause, Suspensions

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker

app = commands(
    "List, pause, resume and drop push subscriptions.",
    examples=("relay subscriptions list", "relay subscriptions pause bot --why 'database migration'"),
)

_BLOCKED = "holding up chats"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The subscription's name.")]


@dataclass(frozen=True, slots=True)
class _Row:
    """The state of one subscription."""

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
class _Suspension:
    """The reasons why a subscription does not deliver."""

    pause: Pause | None
    breaker: OpenBreaker | None
    chats: int


@command(app, "list", examples=("relay subscriptions list", "relay subscriptions list --json"))
def list_(*, view: View) -> None:
    """Show whether each subscription delivers, and why not; exit code 1 if one does not."""
    rows = run(_rows(load_settings()))
    if view.json:
        print_json([asdict(row) for row in rows])
    else:
        columns = ("subscription", "state", "waiting", "retrying", "dead", "since", "next probe", "why")
        print_table("Push subscriptions", columns, [_cells(row, view) for row in rows], view)
    if any(row.state in {"paused", "breaker open", _BLOCKED} for row in rows):
        raise typer.Exit(1)


@command(app, examples=("relay subscriptions pause bot", "relay subscriptions pause bot --why 'database migration'"))
def pause(
    name: NameArgument,
    *,
    why: Annotated[
        str,
        typer.Option("--why", metavar="TEXT", help="The reason, for relay subscriptions list and relay audit."),
    ] = "",
) -> None:
    """Stop delivering to a subscription; its events wait in its topic."""
    is_new = run(_pause(load_settings(), name, why))
    say(f"{name} is paused." if is_new else f"{name} was already paused.")


@command(app, examples=("relay subscriptions resume bot", "relay subscriptions resume crm"))
def resume(name: NameArgument, *, why: WhyOption = "") -> None:
    """Deliver again to a subscription that was paused by an operator, or by its own response 410."""
    was_paused = run(_resume(load_settings(), name, why))
    say(f"{name} is resumed." if was_paused else f"{name} was not paused.")


@command(app, examples=("relay subscriptions drop former-bot", "relay subscriptions drop former-bot --yes"))
def drop(
    name: NameArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Also delete waiting events and dead letters.")] = False,
    why: WhyOption = "",
) -> None:
    """Delete the state of a subscription that is no longer in relay.toml."""
    lost = run(_drop(load_settings(), name, why, even_with_events=yes))
    say(f"{name} is dropped, with {counted(lost, 'event')}.")


def _cells(row: _Row, view: View) -> tuple[object, ...]:
    times = (view.time(row.since_ms), view.time(row.next_probe_ms))
    return row.subscription, row.state, row.waiting, row.retrying, row.dead, *times, row.why


async def states(settings: Settings) -> dict[str, str]:
    """Return the state of each subscription with its reason, as the list shows it."""
    return {row.subscription: f"{row.state}: {row.why}" if row.why else row.state for row in await _rows(settings)}


async def _rows(settings: Settings) -> list[_Row]:
    config = read_config(settings.relay_config)
    paused = {subscription.name: subscription.paused for subscription in config.subscriptions}
    async with open_store(settings) as redis:
        suspensions = Suspensions(redis)
        pauses, breakers = await suspensions.pauses(), await suspensions.open_breakers()
        lanes = await Ledger(redis).lanes()
        blocked = {lane.subscription: await suspensions.blocked_chats(lane.subscription) for lane in lanes}
    return [
        _row(
            lane,
            paused,
            _Suspension(pauses.get(lane.subscription), breakers.get(lane.subscription), blocked[lane.subscription]),
        )
        for lane in lanes
    ]


def _row(lane: LaneLedger, paused: dict[str, bool], suspension: _Suspension) -> _Row:
    state, since, probe, why = "delivering", None, None, ""
    if lane.subscription not in paused:
        state, why = "removed", "no longer in relay.toml; relay subscriptions drop deletes it"
    elif paused[lane.subscription]:
        state, why = "paused", "by relay.toml"
    elif (pause := suspension.pause) is not None:
        state, since, why = "paused", pause.at_ms, pause.reason
    elif (breaker := suspension.breaker) is not None:
        state, since, probe, why = "breaker open", breaker.opened_ms, breaker.probe_ms, breaker.reason.rstrip(": ")
    elif suspension.chats:
        chats = counted(suspension.chats, "chat")
        state, why = _BLOCKED, f"dead letters hold up {chats}; relay dead list shows them"
    return _Row(lane.subscription, state, lane.waiting, lane.retrying, lane.dead, since, probe, why)


async def _pause(settings: Settings, name: str, why: str) -> bool:
    _configured(settings, name)
    async with open_store(settings) as redis:
        await record(redis, "subscriptions pause", name, why=why)
        return await Suspensions(redis).pause(name, why or f"by {operator()}", round(time.time() * 1000))


async def _resume(settings: Settings, name: str, why: str) -> bool:
    subscription = _configured(settings, name)
    async with open_store(settings) as redis:
        await record(redis, "subscriptions resume", name, why=why)
        was_paused = await Suspensions(redis).resume(name)
    if subscription.paused:
        raise RelayError(f"{settings.relay_config} pauses {name}; remove `paused = true` there")
    return was_paused


def _configured(settings: Settings, name: str) -> Subscription:
    """Return the subscription of that name in relay.toml."""
    subscriptions = {known.name: known for known in read_config(settings.relay_config).subscriptions}
    if name not in subscriptions:
        raise _unknown(name, subscriptions, str(settings.relay_config))
    return subscriptions[name]


async def _drop(settings: Settings, name: str, why: str, *, even_with_events: bool) -> int:
    if name in {known.name for known in read_config(settings.relay_config).subscriptions}:
        raise RelayError(f"{name} is still in {settings.relay_config}; remove it there first, or it starts again")
    async with open_store(settings) as redis:
        ledger = {lane.subscription: lane for lane in await Ledger(redis).lanes()}
        if name not in ledger:
            raise _unknown(name, ledger, "Redis")
        lane = ledger[name]
        owed = lane.waiting + lane.retrying + lane.dead
        if owed and not even_with_events:
            raise RelayError(
                f"{name} has {lane.waiting} events waiting, {lane.retrying} retrying and {lane.dead} dead letters; "
                "--yes deletes them too"
            )
        await record(redis, "subscriptions drop", name, owed, why)
        await drop_lane(redis, name)
    return owed


def _unknown(name: str, known: Collection[str], where: str) -> RelayError:
    return RelayError(f'no subscription "{name}" in {where} (known: {", ".join(sorted(known)) or "none"})')
