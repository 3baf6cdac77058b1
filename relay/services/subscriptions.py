"""Push subscriptions: whether they deliver, and pausing, resuming and dropping them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.core.access.scopes import Scope
from relay.core.errors import Conflict
from relay.services.access import configured, subscriptions_of, team_of, unknown_subscription
from relay.services.wording import counted
from relay.store import keys
from relay.store.isolation import repair_of, wrong_keys
from relay.store.lanes.attempt_log import conditions_of
from relay.store.lanes.ledger import LaneLedger, LaneState, Ledger
from relay.store.lanes.position import drop_lane, lane_names
from relay.store.lanes.suspensions import Suspensions
from relay.store.stored_subscriptions.hash import StoredSubscriptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.rules.merge import View
    from relay.services.context import Context
    from relay.store.lanes.attempt_log import Condition
    from relay.store.lanes.suspensions import Pause

_FAILING = 3  # failed attempts without a success since, while events wait or are dead letters
_LATEST = 100  # attempts in which the last success is searched
_UNSTARTED = LaneState(LaneLedger("", 0, 0, 0, 0, 0, 0))


class State(StrEnum):
    """The state of a subscription; a closed set."""

    DELIVERING = "delivering"
    FAILING = "failing"
    """Attempts fail, and none has succeeded since."""
    BLOCKED = "holding up chats"
    """Dead letters hold up chats (`block_on_dead`)."""
    PAUSED = "paused"
    BREAKER_OPEN = "breaker open"
    SUSPENDED = "suspended"
    """A key of it in Redis was overwritten."""
    UNUSABLE = "unusable"
    """Made by the API, and not in force: it contradicts relay.toml, or its secrets cannot be decrypted."""
    REMOVED = "removed"
    """The rules no longer have it, and Redis has its state."""
    NOT_STARTED = "not started yet"
    """The rules have it, and no worker has begun with it."""

    @property
    def is_good(self) -> bool:
        """True if it needs no operator."""
        return self in {State.DELIVERING, State.REMOVED, State.NOT_STARTED}


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """The state of one subscription."""

    name: str
    topic: str | None
    """Its topic; of a removed one, the last that it read, if any."""
    team: str | None
    state: State
    waiting: int
    """Events without a finished attempt."""
    retrying: int
    dead: int
    """Dead letters."""
    discarded: int
    """Dead letters that were deleted beyond the bounds of the subscription."""
    last_success_ms: int | None
    """Unix milliseconds."""
    since_ms: int | None
    """The start of the pause or of the open breaker, Unix milliseconds."""
    next_probe_ms: int | None
    why: str
    """The reason for the state; empty for none."""
    delivered: int
    is_exact: bool
    """False if what waits was not counted, but is what makes the ledger balance."""

    @property
    def sentence(self) -> str:
        """The state with its reason."""
        return f"{self.state}: {self.why}" if self.why else str(self.state)


async def list_states(context: Context, principal: Principal, *, is_exact: bool = False) -> list[SubscriptionState]:
    """Return the state of each subscription, by name, also of those that the rules no longer have.

    With `is_exact`, waiting events are counted where Redis's own number is in doubt, which may take seconds.
    """
    principal.require(Scope.READ)
    view = await context.rules.view()
    known, unusable = subscriptions_of(view.config, principal), _unusable(view, principal)
    lanes = await lane_names(context.redis)
    if not principal.is_operator:
        lanes = [name for name in lanes if name in known or name in unusable]
    states = {state.name: state for state in await _states(context, known, lanes, is_exact)}
    for name, why in unusable.items():
        states[name] = _unusable_state(view, name, why, states.get(name))
    return [states[name] for name in sorted(states)]


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
    found = await _states(context, chosen, [name] if name in lanes else [], is_exact)
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
    lane = state or _state(name, None, _UNSTARTED, _Suspension("", None, None, None), is_started=False)
    record = view.stored.get(name)
    topic = str(record.table.get("topic")) if record else lane.topic
    return replace(lane, state=State.UNUSABLE, why=why, topic=topic, team=record.team if record else None)


async def _states(
    context: Context,
    known: Mapping[str, Subscription],
    lanes: Sequence[str],
    is_exact: bool,  # noqa: FBT001  private
) -> list[SubscriptionState]:
    """Return the state of what the rules have (`known`), and of what Redis has."""
    redis = context.redis
    suspensions = Suspensions(redis)
    pauses, breakers = await suspensions.pauses(), await suspensions.open_breakers()
    ledgers = {
        state.ledger.subscription: state
        for state in await Ledger(redis).states(count_timeout=None if is_exact else 0, lanes=lanes)
    }
    conditions = await conditions_of(redis, lanes, _LATEST if is_exact else _FAILING)
    states = []
    for name in sorted({*known, *lanes}):
        lane, condition = ledgers.get(name, _UNSTARTED), conditions.get(name)
        wrong = ""
        if name in ledgers and (condition is None or lane.ledger.fault):
            found = await wrong_keys(redis, redis.key.lane_types(name))
            wrong = f"{'; '.join(map(str, found))}: {repair_of(found)}" if found else ""
        suspension = _Suspension(wrong, pauses.get(name), breakers.get(name), condition if not wrong else None)
        states.append(_state(name, known.get(name), lane, suspension, is_started=name in ledgers))
    return states


@dataclass(frozen=True, slots=True)
class _Suspension:
    """The reasons why a subscription may not deliver."""

    wrong: str
    pause: Pause | None
    breaker: OpenBreaker | None
    condition: Condition | None


def _state(
    name: str, subscription: Subscription | None, lane: LaneState, suspension: _Suspension, *, is_started: bool
) -> SubscriptionState:
    ledger, condition = lane.ledger, suspension.condition
    since: int | None = None
    probe: int | None = None
    state, why = State.DELIVERING, ""
    if subscription is None:
        state, why = State.REMOVED, "no longer in relay.toml; relay subscriptions drop deletes it"
    elif suspension.wrong:
        state, why = State.SUSPENDED, suspension.wrong
    elif subscription.paused:
        state, why = State.PAUSED, "by relay.toml"
    elif (pause := suspension.pause) is not None:
        state, since, why = State.PAUSED, pause.at_ms, pause.reason
    elif (breaker := suspension.breaker) is not None:
        state, since, probe = State.BREAKER_OPEN, breaker.opened_ms, breaker.probe_ms
        why = breaker.reason.rstrip(": ")
    elif condition and condition.blocked_chats:
        chats = counted(condition.blocked_chats, "chat")
        state, why = State.BLOCKED, f"dead letters hold up {chats}; relay dead list shows them"
    elif not is_started:
        state = State.NOT_STARTED
    elif condition and _fails(ledger, condition):
        attempt = condition.health.failures[0]
        state = State.FAILING
        why = f"no attempt succeeds ({attempt.outcome}: {attempt.status or 'no response'}); relay attempts shows them"
    return SubscriptionState(
        name=name,
        topic=subscription.topic if subscription else _last_topic(lane),
        team=team_of(subscription) if subscription else None,
        state=state,
        waiting=ledger.waiting,
        retrying=ledger.retrying,
        dead=ledger.dead,
        discarded=ledger.discarded,
        last_success_ms=condition.health.last_success_ms if condition else None,
        since_ms=since,
        next_probe_ms=probe,
        why=why,
        delivered=ledger.delivered,
        is_exact=lane.is_exact,
    )


def _fails(ledger: LaneLedger, condition: Condition) -> bool:
    return len(condition.health.failures) >= _FAILING and bool(ledger.waiting or ledger.retrying or ledger.dead)


def _last_topic(lane: LaneState) -> str | None:
    topics = [keys.topic_of(part.stream) for part in lane.owed[1:]]
    return topics[-1] if topics else None
