"""Push subscriptions: whether they deliver, and pausing, resuming and dropping them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict, Hint
from relay.services.access import configured, subscriptions_of, unknown_subscription
from relay.services.deliveries.subscription_states import State as State  # noqa: PLC0414  of what this module returns
from relay.services.deliveries.subscription_states import SubscriptionState as SubscriptionState  # noqa: PLC0414
from relay.services.deliveries.subscription_states import states_of, unstarted
from relay.services.page import DEFAULT_LIMIT, Page, check_limit, cursor_of, place_of
from relay.services.wording import counted
from relay.store.driver.merged_streams import Place
from relay.store.lanes.position import drop_lane, lane_names
from relay.store.lanes.suspensions import Suspensions
from relay.store.ledger.ledger import Ledger
from relay.store.stored_subscriptions.hash import StoredSubscriptions
from relay.store.topics.history import BEGINNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.rules.merge import View
    from relay.services.context import Context


async def list_states(context: Context, principal: Principal, *, is_exact: bool = False) -> list[SubscriptionState]:
    """Return the state of each subscription, by name, also of those that the rules no longer have.

    With `is_exact`, waiting events are counted where Redis's own number is in doubt, which may take seconds.
    """
    principal.require(Scope.READ)
    seen = await _seen(context, principal)
    return await _states(context, seen, seen.names, is_exact=is_exact)


async def search(
    context: Context, principal: Principal, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[SubscriptionState]:
    """Return a page of the same list; only the lanes of its subscriptions are read.

    Raises:
        Invalid: the cursor or the limit is wrong.
    """
    principal.require(Scope.READ)
    after, limit = place_of(cursor), check_limit(limit)
    seen = await _seen(context, principal)
    rest = [name for name in seen.names if after is None or name > after.name]
    shown = rest[:limit]
    following = cursor_of(Place(BEGINNING, shown[-1])) if len(rest) > limit else None
    return Page(tuple(await _states(context, seen, shown)), following)


async def get_state(context: Context, principal: Principal, name: str, *, is_exact: bool = False) -> SubscriptionState:
    """Return the state of one subscription.

    Raises:
        NotFound: there is none of that name, in the rules or in Redis.
    """
    principal.require(Scope.READ)
    seen = await _seen(context, principal)
    if name not in seen.names:
        raise unknown_subscription(name, seen.known, "")
    [state] = await _states(context, seen, [name], is_exact=is_exact)
    return state


async def pause(context: Context, principal: Principal, name: str, why: str = "") -> bool:
    """Stop delivering to a subscription; its events wait. Return False if it was paused already.

    Raises:
        NotFound: there is none of that name.
    """
    principal.require(Scope.SUBSCRIBE)
    configured(await context.config(), principal, name)
    await context.record(principal, "subscriptions pause", name, why=why)
    return await Suspensions(context.redis).pause(name, why or f"by {principal.name}", context.now_ms)


@dataclass(frozen=True, slots=True)
class Resumed:
    """The result of resuming a subscription."""

    was_paused: bool
    breaker: OpenBreaker | None
    """Its circuit breaker, which still holds its events back; None if that is closed."""


async def resume(context: Context, principal: Principal, name: str, why: str = "") -> Resumed:
    """Deliver again to a subscription that an operator, or its own response 410, has paused.

    It does not close the circuit breaker.

    Raises:
        NotFound: there is none of that name.
        Conflict: the rules pause it as well.
    """
    principal.require(Scope.SUBSCRIBE)
    view = await context.rules.view()
    subscription = configured(view.config, principal, name)
    await context.record(principal, "subscriptions resume", name, why=why)
    was_paused = await Suspensions(context.redis).resume(name)
    if subscription.paused and not view.is_in_file(name):
        raise Conflict(f"{name} has `paused = true` in its own table; change that to false")
    if subscription.paused:
        raise Conflict(f"{context.settings.relay_config} pauses {name}; remove `paused = true` there")
    return Resumed(was_paused, await Suspensions(context.redis).open_breaker(name))


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
        raise Conflict(
            f"{name} still exists; delete it first",
            hint=Hint(f"relay subscriptions delete {name}", f"DELETE /subscriptions/{name}"),
        )
    if not principal.is_operator and (stored is None or not principal.owns(stored.team)):
        raise unknown_subscription(name, known, "")
    if name not in (lanes := await lane_names(context.redis)):
        raise unknown_subscription(name, lanes, " in Redis")
    [state] = await Ledger(context.redis).states(lanes=[name])
    lane = state.ledger
    owed = lane.waiting + lane.retrying + lane.dead
    if owed and not even_with_events:
        raise Conflict(
            f"{name} has {counted(lane.waiting, 'event')} waiting, {lane.retrying} retrying and "
            f"{counted(lane.dead, 'dead letter')}",
            hint=Hint("--yes deletes them too", "even_with_events=true drops them too"),
        )
    await context.record(principal, "subscriptions drop", name, owed, why)
    for shard in reversed(context.redis.shards):  # the first has its name: what is interrupted can be repeated
        await drop_lane(shard, name)
    if stored is not None:  # its name was kept for its team
        await StoredSubscriptions(context.redis).forget(name, stored.version)
    return owed


@dataclass(frozen=True, slots=True)
class _Seen:
    """The subscriptions that a principal sees."""

    view: View
    known: dict[str, Subscription]
    """Subscriptions of the rules."""
    unusable: dict[str, str]
    """The reasons why others, made by the API, are not in force."""
    lanes: list[str]

    @property
    def names(self) -> list[str]:
        """All of them, and those that only Redis has."""
        return sorted({*self.known, *self.unusable, *self.lanes})


async def _seen(context: Context, principal: Principal) -> _Seen:
    view = await context.rules.view()
    known, unusable = subscriptions_of(view.config, principal), _unusable(view, principal)
    lanes = await lane_names(context.redis)
    if not principal.is_operator:
        lanes = [name for name in lanes if name in known or name in unusable]
    return _Seen(view, known, unusable, lanes)


async def _states(
    context: Context, seen: _Seen, names: Sequence[str], *, is_exact: bool = False
) -> list[SubscriptionState]:
    """Return the states of subscriptions that are seen, in the order of `names`."""
    chosen = frozenset(names)
    known = {name: seen.known[name] for name in names if name in seen.known}
    lanes = [name for name in seen.lanes if name in chosen]
    states = {state.name: state for state in await states_of(context, known, lanes, is_exact)}
    for name in chosen & seen.unusable.keys():
        states[name] = _unusable_state(seen.view, name, seen.unusable[name], states.get(name))
    return [states[name] for name in names]


def _unusable(view: View, principal: Principal) -> dict[str, str]:
    """Return the reasons why subscriptions made by the API are not in force, of those that the principal sees."""
    owners = {name: record.team for name, record in view.stored.items()}
    return {name: why for name, why in view.unusable.items() if principal.owns(owners.get(name))}


def _unusable_state(view: View, name: str, why: str, state: SubscriptionState | None = None) -> SubscriptionState:
    """Return the state of a subscription that is not in force; `state` is that of its lane, if it has one."""
    lane = state or unstarted(name)
    record = view.stored.get(name)
    topic = str(record.table["topic"]) if record and "topic" in record.table else lane.topic
    return replace(lane, state=State.UNUSABLE, why=why, topic=topic, team=record.team if record else None)
