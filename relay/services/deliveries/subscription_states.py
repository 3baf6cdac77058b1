"""The state of a subscription: from its rules, its pause and breaker, and its lane."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from relay.services.access import team_of
from relay.services.wording import counted
from relay.store import keys
from relay.store.isolation import repair_of, wrong_keys
from relay.store.lanes.attempts.log import conditions_of, whole_condition
from relay.store.lanes.suspensions import Suspensions
from relay.store.ledger.glance import Glance, glance_at
from relay.store.ledger.ledger import LaneLedger, LaneState, Ledger
from relay.store.ledger.whole import of_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.core.config.relay_toml import Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.services.context import Context
    from relay.store.driver.client import Redis
    from relay.store.lanes.attempts.log import Condition
    from relay.store.lanes.suspensions import Pause

_FAILING = 3  # failed attempts without a success since, while events wait or are dead letters
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
    shadow_of: str | None = None
    """The subscription that it shadows; None if it is no shadow."""

    @property
    def needs_operator(self) -> bool:
        """True if it does not deliver as it should; no failure of a shadow needs an operator."""
        return not self.state.is_good and self.shadow_of is None

    @property
    def sentence(self) -> str:
        """The state with its reason."""
        return f"{self.state}: {self.why}" if self.why else str(self.state)


def unstarted(name: str) -> SubscriptionState:
    """Return the state of a name that neither the rules nor Redis have."""
    return _state(name, None, _UNSTARTED, _Suspension("", None, None, None), is_started=False)


async def states_of(
    context: Context,
    known: Mapping[str, Subscription],
    lanes: Sequence[str],
    is_exact: bool,  # noqa: FBT001  private
) -> list[SubscriptionState]:
    """Return the state of what the rules have (`known`), and of what Redis has."""
    redis, shards = context.redis, context.redis.shards
    suspensions = Suspensions(redis)
    pauses, breakers = await suspensions.pauses(), await suspensions.open_breakers()
    glances = await (_counted(redis, lanes) if is_exact else glance_at(redis, lanes))
    states = []
    for name in sorted({*known, *lanes}):
        glance = glances.get(name)
        wrong = ""
        if name in glances and (glance is None or glance.state.ledger.fault):
            found = [key for shard in shards for key in await wrong_keys(shard, shard.key.lane_types(name))]
            wrong = f"{'; '.join(map(str, found))}: {repair_of(found)}" if found else ""
        condition = glance.condition if glance and not wrong else None
        suspension = _Suspension(wrong, pauses.get(name), breakers.get(name), condition)
        lane = glance.state if glance else _UNSTARTED
        states.append(_state(name, known.get(name), lane, suspension, is_started=name in glances))
    return states


async def _counted(redis: Redis, lanes: Sequence[str]) -> dict[str, Glance | None]:
    """Return the state of each lane, after counting what it waits for; None where a key of it is of a wrong type."""
    parts = await of_each(redis, lambda shard: conditions_of(shard, lanes))
    found: dict[str, Glance | None] = {}
    for state in await Ledger(redis).states(lanes=lanes):
        name = state.ledger.subscription
        conditions = [condition for part in parts if (condition := part[name]) is not None]
        found[name] = Glance(state, whole_condition(conditions)) if len(conditions) == len(parts) else None
    return found


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
        state, why = State.REMOVED, "no longer configured"
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
        state, why = State.BLOCKED, f"dead letters hold up {chats}"
    elif not is_started:
        state = State.NOT_STARTED
    elif condition and _fails(ledger, condition):
        attempt = condition.health.failures[0]
        state = State.FAILING
        why = f"no attempt succeeds ({attempt.outcome}: {attempt.status or 'no response'})"
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
        shadow_of=subscription.shadow_of if subscription else None,
    )


def _fails(ledger: LaneLedger, condition: Condition) -> bool:
    return len(condition.health.failures) >= _FAILING and bool(ledger.waiting or ledger.retrying or ledger.dead)


def _last_topic(lane: LaneState) -> str | None:
    topics = [keys.topic_of(part.stream) for part in lane.owed[1:]]
    return topics[-1] if topics else None
