"""Push subscriptions: whether they deliver, and pausing, resuming and dropping them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict
from relay.services.access import configured, subscriptions_of, unknown_subscription
from relay.services.subscription_states import State as State  # noqa: PLC0414  of what this module returns
from relay.services.subscription_states import SubscriptionState as SubscriptionState  # noqa: PLC0414
from relay.services.subscription_states import states_of, unstarted
from relay.store.lanes.ledger import Ledger
from relay.store.lanes.position import drop_lane, lane_names
from relay.store.lanes.suspensions import Suspensions
from relay.store.stored_subscriptions.hash import StoredSubscriptions

if TYPE_CHECKING:
    from relay.core.access.principal import Principal
    from relay.rules.merge import View
    from relay.services.context import Context


async def list_states(
    context: Context, principal: Principal, *, is_exact: bool = False, after: str = "", limit: int | None = None
) -> list[SubscriptionState]:
    """Return the state of each subscription, by name, also of those that the rules no longer have.

    With `is_exact`, waiting events are counted where Redis's own number is in doubt, which may take seconds. Names
    begin after `after`, and there are at most `limit`.
    """
    principal.require(Scope.READ)
    view = await context.rules.view()
    known, unusable = subscriptions_of(view.config, principal), _unusable(view, principal)
    lanes = await lane_names(context.redis)
    if not principal.is_operator:
        lanes = [name for name in lanes if name in known or name in unusable]
    chosen = [name for name in sorted({*known, *unusable, *lanes}) if name > after][:limit]
    known = {name: known[name] for name in chosen if name in known}
    lanes = sorted({*lanes} & {*chosen})
    states = {state.name: state for state in await states_of(context, known, lanes, is_exact)}
    return [
        _unusable_state(view, name, unusable[name], states.get(name)) if name in unusable else states[name]
        for name in chosen
    ]


async def get_state(context: Context, principal: Principal, name: str, *, is_exact: bool = False) -> SubscriptionState:
    """Return the state of one subscription.

    Raises:
        NotFound: there is none of that name, in the rules or in Redis.
    """
    principal.require(Scope.READ)
    view = await context.rules.view()
    known, unusable = subscriptions_of(view.config, principal), _unusable(view, principal)
    lanes = await lane_names(context.redis)
    if name not in known and name not in unusable and not (principal.is_operator and name in lanes):
        raise unknown_subscription(name, known, "")
    chosen = {name: known[name]} if name in known else {}
    found = await states_of(context, chosen, [name] if name in lanes else [], is_exact)
    return _unusable_state(view, name, unusable[name], *found) if name in unusable else found[0]


async def pause(context: Context, principal: Principal, name: str, why: str = "") -> bool:
    """Stop delivering to a subscription; its events wait. Return False if it was paused already.

    Raises:
        NotFound: there is none of that name.
    """
    principal.require(Scope.SUBSCRIBE)
    configured(context, await context.config(), principal, name)
    await context.record(principal, "subscriptions pause", name, why=why)
    return await Suspensions(context.redis).pause(name, why or f"by {principal.name}", context.now_ms)


async def resume(context: Context, principal: Principal, name: str, why: str = "") -> bool:
    """Deliver again to a subscription that an operator, or its own response 410, has paused.

    Return False if it was not paused.

    Raises:
        NotFound: there is none of that name.
        Conflict: the rules pause it as well.
    """
    principal.require(Scope.SUBSCRIBE)
    view = await context.rules.view()
    subscription = configured(context, view.config, principal, name)
    await context.record(principal, "subscriptions resume", name, why=why)
    was_paused = await Suspensions(context.redis).resume(name)
    if subscription.paused and not view.is_in_file(name):
        raise Conflict(f"{name} has `paused = true` in its own table; change that to false")
    if subscription.paused:
        raise Conflict(f"{context.settings.relay_config} pauses {name}; remove `paused = true` there")
    return was_paused


async def drop(
    context: Context, principal: Principal, name: str, why: str = "", *, even_with_events: bool = False
) -> int:
    """Delete the state of a subscription that the rules no longer have; return the number of events that are lost.

    Raises:
        NotFound: there is none of that name.
        Conflict: the rules have it, or it has events and `even_with_events` is not set.
    """
    principal.require(Scope.SUBSCRIBE)
    view = await context.rules.view()
    known = subscriptions_of(view.config, principal)
    stored = view.stored.get(name)
    if view.is_in_file(name) and name in known:
        raise Conflict(f"{name} is still in {context.settings.relay_config}; remove it there first, or it starts again")
    if name in known or (stored is not None and not stored.deleted and principal.owns(stored.team)):
        raise Conflict(f"{name} still exists; relay subscriptions delete {name} deletes it")
    if not principal.is_operator and (stored is None or not principal.owns(stored.team)):
        raise unknown_subscription(name, known, "")
    if name not in (lanes := await lane_names(context.redis)):
        raise unknown_subscription(name, lanes, " in Redis")
    [state] = await Ledger(context.redis).states(lanes=[name])
    lane = state.ledger
    owed = lane.waiting + lane.retrying + lane.dead
    if owed and not even_with_events:
        raise Conflict(
            f"{name} has {lane.waiting} events waiting, {lane.retrying} retrying and {lane.dead} dead letters; "
            "--yes deletes them too"
        )
    await context.record(principal, "subscriptions drop", name, owed, why)
    await drop_lane(context.redis, name)
    if stored is not None:  # its name was kept for its team
        await StoredSubscriptions(context.redis).forget(name, stored.version)
    return owed


def _unusable(view: View, principal: Principal) -> dict[str, str]:
    """Return the reasons why subscriptions made by the API are not in force, of those that the principal sees."""
    owners = {name: record.team for name, record in view.stored.items()}
    return {name: why for name, why in view.unusable.items() if principal.owns(owners.get(name))}


def _unusable_state(view: View, name: str, why: str, state: SubscriptionState | None = None) -> SubscriptionState:
    """Return the state of a subscription that is not in force; `state` is that of its lane, if it has one."""
    lane = state or unstarted(name)
    record = view.stored.get(name)
    topic = str(record.table.get("topic")) if record else lane.topic
    return replace(lane, state=State.UNUSABLE, why=why, topic=topic, team=record.team if record else None)
