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
from relay.store.isolation import repair_of, wrong_keys
from relay.store.lanes.attempt_log import Health, health_of
from relay.store.lanes.ledger import LaneLedger, Ledger
from relay.store.lanes.position import drop_lane
from relay.store.lanes.suspensions import Pause, Suspensions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from relay.config.settings import Settings
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.store.driver.client import Redis
    from relay.store.isolation import WrongKey

app = commands(
    "List, pause, resume and drop push subscriptions.",
    examples=("relay subscriptions list", "relay subscriptions pause bot --why 'database migration'"),
)

_BLOCKED = "holding up chats"
_FAILING = 3  # failed attempts without a success since, while events wait or are dead letters

_UNKNOWN = Health(None, ())

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The subscription's name.")]


@dataclass(frozen=True, slots=True)
class _Row:
    """The state of one subscription."""

    subscription: str
    state: str
    """`delivering`, `failing`, `holding up chats`, `paused`, `breaker open`, `suspended` or `removed`."""
    waiting: int
    retrying: int
    dead: int
    discarded: int
    last_success_ms: int | None
    since_ms: int | None
    next_probe_ms: int | None
    why: str


@dataclass(frozen=True, slots=True)
class _Suspension:
    """The reasons why a subscription does not deliver."""

    pause: Pause | None = None
    breaker: OpenBreaker | None = None
    chats: int = 0
    health: Health = _UNKNOWN
    wrong: Sequence[WrongKey] = ()


@command(app, "list", examples=("relay subscriptions list", "relay subscriptions list --json"))
def list_(*, view: View) -> None:
    """Show whether each subscription delivers, and why not; exit code 1 if one does not."""
    rows = run(_rows(load_settings()))
    if view.json:
        print_json([asdict(row) for row in rows])
    else:
        counts = ["waiting", "retrying", "dead", *(["discarded"] if any(row.discarded for row in rows) else [])]
        columns = ("subscription", "state", *counts, "last success", "since", "next probe", "why")
        print_table("Push subscriptions", columns, [_cells(row, counts, view) for row in rows], view)
    if any(row.state not in {"delivering", "removed"} for row in rows):
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


def _cells(row: _Row, counts: Sequence[str], view: View) -> tuple[object, ...]:
    times = map(view.time, (row.last_success_ms, row.since_ms, row.next_probe_ms))
    return row.subscription, row.state, *(getattr(row, count) for count in counts), *times, row.why


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
        return [_row(lane, paused, await _suspension(redis, lane.subscription, pauses, breakers)) for lane in lanes]


async def _suspension(
    redis: Redis, name: str, pauses: Mapping[str, Pause], breakers: Mapping[str, OpenBreaker]
) -> _Suspension:
    if wrong := await wrong_keys(redis, redis.key.lane_types(name)):
        return _Suspension(wrong=wrong)
    chats, health = await Suspensions(redis).blocked_chats(name), await health_of(redis, name)
    return _Suspension(pauses.get(name), breakers.get(name), chats, health)


def _row(lane: LaneLedger, paused: dict[str, bool], suspension: _Suspension) -> _Row:
    state, since, probe, why = "delivering", None, None, ""
    if lane.subscription not in paused:
        state, why = "removed", "no longer in relay.toml; relay subscriptions drop deletes it"
    elif suspension.wrong:
        state, why = "suspended", f"{'; '.join(map(str, suspension.wrong))}: {repair_of(suspension.wrong)}"
    elif paused[lane.subscription]:
        state, why = "paused", "by relay.toml"
    elif (pause := suspension.pause) is not None:
        state, since, why = "paused", pause.at_ms, pause.reason
    elif (breaker := suspension.breaker) is not None:
        state, since, probe, why = "breaker open", breaker.opened_ms, breaker.probe_ms, breaker.reason.rstrip(": ")
    elif suspension.chats:
        chats = counted(suspension.chats, "chat")
        state, why = _BLOCKED, f"dead letters hold up {chats}; relay dead list shows them"
    elif len(suspension.health.failures) >= _FAILING and (lane.waiting or lane.retrying or lane.dead):
        attempt = suspension.health.failures[0]
        state, why = "failing", f"no attempt succeeds ({attempt.outcome}: {attempt.status or 'no response'}); "
        why += "relay attempts shows them"
    counts = (lane.waiting, lane.retrying, lane.dead, lane.discarded)
    return _Row(lane.subscription, state, *counts, suspension.health.last_success_ms, since, probe, why)


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
