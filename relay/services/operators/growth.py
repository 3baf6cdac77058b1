"""More shards while the relay runs: the plan, the note of the target, and the change itself; for operators.

The protocol is `sharding.growth.state`. `apply` does the steps one after the other, and waits between them for what
others do: operators restart processes, workers route and deliver. Each step does nothing if it is done already, so an
`apply` that was killed before the switch is run again. After it, workers do the rest, whether an `apply` waits or not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint, Invalid, Problem
from relay.core.sharding.placement import MAX_SHARDS
from relay.core.timestamps import utc_text
from relay.services.dedupe_window import dedupe_window
from relay.store.driver.client import ask
from relay.store.fleet.processes import processes
from relay.store.ledger.ledger import Ledger
from relay.store.rights.check import check_access
from relay.store.sharding.growth.completion import Completion, copy_all, named
from relay.store.sharding.growth.fence import prepare_fences
from relay.store.sharding.growth.order_gate import OrderedLane, ordered_lanes
from relay.store.sharding.growth.state import (
    Growth,
    cancel,
    decide,
    note_growth,
    note_time,
    opened_lanes,
    read_growth,
    read_placement,
)
from relay.store.sharding.growth.watch import current_placement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.core.access.principal import Principal
    from relay.services.context import Context

    Tell = Callable[[str], None]

LONG_BACKLOG = 1000
"""Deliveries of an ordered subscription that wait: with more, its chats that move would wait long on the new shards."""

_POLL = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Backlog:
    """Deliveries of an ordered subscription that are not settled."""

    subscription: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The extent of a growth."""

    shards: int
    target: int
    share: float
    """The share of all chats that moves to a new shard."""
    chats: int
    """Entries of the chat -> line index; about that share of them is copied."""
    backfilled: int
    """Marks of backfilled messages, which are copied to each new shard."""
    backlogs: tuple[Backlog, ...]
    """Of subscriptions with ordered = "chat"."""
    growth: Growth | None
    """The one that is not done; it has to be before the next."""


@dataclass(frozen=True, slots=True)
class State:
    """The number of shards, and the last growth."""

    shards: int
    growth: Growth | None
    dedupes_until_ms: int | None
    """Until when repeats are also looked up on the former shards; Unix milliseconds."""
    dedupe_note: str
    """The processes whose dedupe windows differ, in words; empty if all agree, or nothing is looked up there."""
    closed: tuple[str, ...]
    """Ordered subscriptions that deliver nothing on the new shards yet."""
    others: tuple[str, ...]
    """Processes with a number of shards that is not that of the growth, or without one not that of the relay."""


async def state(context: Context, principal: Principal) -> State:
    """Return the number of shards and the state of the last growth."""
    principal.require_operator()
    number, growth = await read_placement(context.redis)
    number = number or 1
    is_growing = growth is not None and growth.done_ms is None
    target = growth.target if growth is not None and is_growing else number
    opened = await opened_lanes(context.redis)
    closed = [lane.name for lane in await _ordered(context) if lane.name not in opened] if is_growing else []
    window = await dedupe_window(context)
    until_ms = None if growth is None else growth.dedupes_until_ms(window.ms)
    note = "" if until_ms is None else window.note
    return State(number, growth, until_ms, note, tuple(closed), tuple(await _others(context, target)))


async def plan(context: Context, principal: Principal, target: int) -> Plan:
    """Return what a growth to `target` shards would move."""
    principal.require_operator()
    number = await _check(context, target)
    shards = context.redis.shards[:number]
    chats = [int(await ask(shard.hlen(shard.key.chats))) for shard in shards]
    marks = [int(await ask(shard.hlen(shard.key.backfilled))) for shard in shards]
    growth = await read_growth(context.redis)
    return Plan(
        shards=number,
        target=target,
        share=(target - number) / target,
        chats=sum(chats),
        backfilled=sum(marks),
        backlogs=tuple(await _backlogs(context)),
        growth=growth if growth is not None and growth.done_ms is None else None,
    )


async def prepare(context: Context, principal: Principal, target: int, why: str = "") -> Growth:
    """Note the target, so that processes with it may start; `context` has as many shards.

    Raises:
        SettingsError: the rights at Redis do not suffice for the new shards.
    """
    principal.require_operator(Scope.ADMIN)
    number = await _check(context, target)
    former = await read_growth(context.redis)
    _check_former(former, target)
    if former is not None and former.target != target:
        await _check_window(context, former)
    await check_access(context.redis)
    await context.record(principal, "shards prepare", "shards", target, why)
    await prepare_fences(context.redis.shards, number)
    await note_growth(context.redis, number, target, context.now_ms)
    return await _noted(context)


async def give_up(context: Context, principal: Principal, why: str = "") -> bool:
    """Forget a growth that is not decided; return False if there is none."""
    principal.require_operator(Scope.ADMIN)
    growth = await read_growth(context.redis)
    if growth is None or growth.is_decided:
        return False
    await context.record(principal, "shards cancel", "shards", None, why)
    return await cancel(context.redis)


async def apply(
    context: Context, principal: Principal, tell: Tell, why: str = "", *, anyway: bool = False, poll: float = _POLL
) -> Growth:
    """Grow to the noted target, and return when that is done; `tell` is given each step, and what is waited for.

    `context` has the target's shards. With `anyway`, ordered subscriptions may have a long backlog.
    """
    principal.require_operator(Scope.ADMIN)
    growth = await _noted(context)
    if growth.done_ms is not None:
        return growth
    if not growth.is_decided:
        await _switch(context, principal, growth, tell, why, anyway=anyway, poll=poll)
    await current_placement(context.redis, context.dedupe_window_ms, context.now_ms, context.replication)
    tell(f"events are placed on {growth.target} shards")
    completion = Completion(context.redis, context.dedupe_window_ms, context.replication, tell)

    async def left() -> str:
        return await completion.step(await _ordered(context), context.now_ms)

    await _until(left, tell, poll)
    return await _noted(context)


async def _switch(  # noqa: PLR0913  the arguments of `apply`
    context: Context, principal: Principal, growth: Growth, tell: Tell, why: str, *, anyway: bool, poll: float
) -> None:
    """Do what comes before the decision, and decide."""
    await _until(lambda: _not_restarted(context, growth), tell, poll)
    await note_time(context.redis, "copied", context.now_ms)
    await copy_all(context.redis, growth, tell)
    if not anyway:
        await _until(lambda: _long_backlogs(context), tell, poll)
    await _until(lambda: _not_restarted(context, growth), tell, poll)
    await context.record(principal, "shards apply", "shards", growth.target, why)
    await decide(context.redis, growth, context.now_ms, context.replication)


async def _until(what_is_left: Callable[[], Awaitable[str]], tell: Tell, poll: float) -> None:
    """Wait until nothing is left; report what is left whenever that changes."""
    told = ""
    while left := await what_is_left():
        if left != told:
            tell(f"waiting: {left}")
            told = left
        await asyncio.sleep(poll)


async def _not_restarted(context: Context, growth: Growth) -> str:
    others = await _others(context, growth.target)
    return f"not restarted with RELAY_SHARDS={growth.target}: {named(others)}" if others else ""


async def _others(context: Context, number: int) -> list[str]:
    """Return the processes with another number of shards."""
    return [each.name for each in await processes(context.redis, context.now_ms) if each.shards != number]


async def _long_backlogs(context: Context) -> str:
    long = [each for each in await _backlogs(context) if each.deliveries > LONG_BACKLOG]
    names = named([f"{each.subscription} with {each.deliveries} deliveries" for each in long])
    return f"ordered subscriptions that are behind: {names}" if long else ""


async def _backlogs(context: Context) -> list[Backlog]:
    ordered = {lane.name for lane in await _ordered(context)}
    rows = await Ledger(context.redis).states(count_timeout=0, lanes=sorted(ordered)) if ordered else []
    return [Backlog(row.ledger.subscription, row.ledger.waiting + row.ledger.retrying) for row in rows]


async def _ordered(context: Context) -> list[OrderedLane]:
    return ordered_lanes((await context.config()).subscriptions)


async def _check(context: Context, target: int) -> int:
    """Return the number of shards in use if the relay can grow to `target`."""
    number = (await read_placement(context.redis))[0] or 1
    if target > MAX_SHARDS:
        raise Invalid(Problem("shards", f"there can be {MAX_SHARDS} at most"))
    if target <= number:
        why = f"{number} are in use, and the number can only grow: fewer would have to move events that are stored"
        raise Invalid(Problem("shards", why))
    return number


def _check_former(growth: Growth | None, target: int) -> None:
    """Refuse a growth to `target` while one to another number is not done."""
    if growth is None or growth.done_ms is not None or growth.target == target:
        return
    change = f"from {growth.former} to {growth.target} shards"
    if growth.is_decided:
        raise Conflict(
            f"the change {change} is decided and not done", hint=Hint("relay shards apply tells what it waits for")
        )
    raise Conflict(f"a change {change} is prepared", hint=Hint("relay shards cancel gives it up"))


async def _check_window(context: Context, former: Growth) -> None:
    """Refuse a growth while repeats are looked up on the shards of before the former: of two nothing is known."""
    window = await dedupe_window(context)
    until_ms = former.dedupes_until_ms(window.ms)
    if until_ms is not None and context.now_ms < until_ms:
        until = f"until {utc_text(until_ms / 1000)}, when RELAY_DEDUPE_WINDOW has passed: prepare it then"
        note = f" ({window.note})" if window.note else ""
        raise Conflict(f"repeats are still looked up on the shards of before the last change, {until}{note}")


async def _noted(context: Context) -> Growth:
    growth = await read_growth(context.redis)
    if growth is None:
        raise Conflict("no number of shards is prepared", hint=Hint("relay shards prepare NUMBER does that"))
    return growth
