"""The part of a push subscription in an event's story: its state, and every attempt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.core.config.topics import filtered_by
from relay.core.delivery.outcome import Outcome
from relay.services.access import subscriptions_of
from relay.services.topics.history.lane_reader import LaneReader
from relay.store.driver.streams import order_of
from relay.store.lanes.position import lane_names
from relay.store.lanes.suspensions import Suspensions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.services.context import Context
    from relay.services.topics.history.lane_reader import Logs, Reading
    from relay.services.topics.history.scan import Budget
    from relay.services.topics.history.view import EventView, Place
    from relay.store.driver.client import Redis
    from relay.store.lanes.attempts.log import FoundAttempt


class PushState(StrEnum):
    """The state of an event at a push subscription."""

    WAITING = "waiting"
    """The subscription has not taken it from its topic yet."""
    SENDING = "sending"
    """A worker has it."""
    RETRYING = "retrying"
    REPLAYING = "replaying"
    """Sent again: it waits in the subscription's replays."""
    DEAD = "dead letter"
    DELIVERED = "delivered"
    FILTERED = "filtered"
    """The subscription's filter excludes it."""
    DROPPED = "dropped"
    """It was a dead letter, which an operator dropped or which exceeded the bounds."""
    UNKNOWN = "unknown"
    """It is settled, but its attempts are not kept any more; or the subscription began later."""


@dataclass(frozen=True, slots=True)
class DeadPart:
    """The dead letter of an event."""

    entry: str
    at_ms: int
    """Unix milliseconds."""
    reason: str


@dataclass(frozen=True, slots=True)
class PushPart:
    """An event at a push subscription."""

    subscription: str
    topic: str
    """The topic of the subscription."""
    state: PushState
    attempts: tuple[FoundAttempt, ...]
    """Oldest first, replays as well."""
    due_ms: int | None = None
    """Time of the next attempt, Unix milliseconds."""
    dead: DeadPart | None = None
    replays: int = 0
    """The number of replays of it that wait."""
    replayed: bool = False
    """True if it was sent again."""
    notes: tuple[str, ...] = ()
    """Reasons, for people: of a filter, of waiting, and what is not known any more."""


class Range(NamedTuple):
    """The subscriptions that are asked for, by name."""

    after: str = ""
    limit: int | None = None
    """None: all of them."""


EVERY = Range()
"""All subscriptions; each takes about 0.1 ms."""


class PushParts(NamedTuple):
    """The parts of subscriptions that the principal sees."""

    parts: list[PushPart]
    is_whole: bool
    """False if there was no time to look at all others."""
    fields: Mapping[bytes, bytes]
    """The event's fields, as a dead letter or a replay has them; empty if there is none."""
    last: str | None = None
    """The last subscription whose topic holds the event, if there was no room for all of them: ask for those after."""


async def push_parts(  # noqa: PLR0913  all but three are keyword-only
    context: Context,
    principal: Principal,
    event: EventView,
    *,
    config: RelayConfig,
    asked: Range,
    budget: Budget,
    with_others: bool = True,
) -> PushParts:
    """Return the parts of the subscriptions that the principal sees: of all whose topic holds the event, then others.

    Others are those that were sent the event again from another topic, or have left its topic, or had it before the
    topics lost it.
    """
    redis = context.redis
    known = subscriptions_of(config, principal)
    places = {place.topic: place for place in event.places}
    holding = sorted((each for each in known.values() if each.topic in places), key=lambda each: each.name)
    direct = [each for each in holding if each.name > asked.after][: asked.limit]
    last = direct[-1].name if direct and direct[-1] is not holding[-1] else None
    others: list[str] = []
    if last is None and with_others:
        have = {each.name for each in holding}
        others = sorted({*await lane_names(redis), *known} - have if principal.is_operator else known.keys() - have)
    reader = LaneReader(redis, event, budget)
    readings = await reader.readings([(each.name, places[each.topic]) for each in direct])
    logs = await reader.logs([each.name for each in direct])
    suspended = await Suspended.read(redis)
    parts = [
        _part(each, places[each.topic], event, readings[each.name], logs[each.name], suspended.notes_on(each))
        for each in direct
    ]
    more = await reader.logs(others)
    for name, found in more.items():
        if found.attempts or found.dead or found.replays:
            parts.append(_other_part(name, known.get(name), found))
    entries = [found.fields for traces in (logs, more) for of_lane in traces.values() for found in of_lane.entries]
    is_whole = all(found.is_whole for found in more.values())
    return PushParts(parts, is_whole, next(iter(entries), {}), last)


class Suspended(NamedTuple):
    """The pauses and the open breakers of all subscriptions."""

    paused: Mapping[str, Any]
    breakers: Mapping[str, Any]

    @classmethod
    async def read(cls, redis: Redis) -> Suspended:
        """Read them."""
        suspensions = Suspensions(redis)
        return cls(await suspensions.pauses(), await suspensions.open_breakers())

    def notes_on(self, subscription: Subscription) -> list[str]:
        """Return the reasons why a subscription does not deliver."""
        notes = []
        if subscription.paused:
            notes.append("the subscription is paused by its configuration")
        if (pause := self.paused.get(subscription.name)) is not None:
            notes.append(
                f"the subscription is paused: {pause.reason}" if pause.reason else "the subscription is paused"
            )
        if subscription.name in self.breakers:
            notes.append("its circuit breaker is open")
        return notes


def _part(
    subscription: Subscription, place: Place, event: EventView, reading: Reading, logs: Logs, waits: Iterable[str]
) -> PushPart:
    """Return the part of a subscription whose topic holds the event."""
    notes = [] if logs.is_whole else ["there was no time to read all of its attempts"]
    part = _part_of_logs(subscription.name, subscription.topic, logs)
    reasons = filtered_by(subscription, event.event())
    if reading.is_pending:
        state = PushState.SENDING if reading.due_ms is None else PushState.RETRYING
        part = replace(part, state=state, due_ms=reading.due_ms)
    elif not reading.position or order_of(place.id) > order_of(reading.position):
        part = replace(part, state=PushState.WAITING)
    elif part.state is PushState.UNKNOWN and reasons:
        part = replace(part, state=PushState.FILTERED)
        notes += reasons
    elif part.state is PushState.UNKNOWN:
        notes.append("no attempt is kept: it was too long ago, or the subscription began later")
    if part.state in {PushState.WAITING, PushState.SENDING, PushState.RETRYING, PushState.REPLAYING}:
        notes += waits
        if reading.blocked_by is not None and event.chat:
            notes.append(f"a dead letter blocks chat {event.chat}: replay or drop it")
    return replace(part, notes=tuple(notes))


def _other_part(name: str, subscription: Subscription | None, logs: Logs) -> PushPart:
    """Return the part of a subscription that had the event though its topic does not hold it."""
    topic = subscription.topic if subscription else next((each.attempt.topic for each in logs.attempts), "")
    part = _part_of_logs(name, topic, logs)
    notes = () if subscription else ("the subscription was removed",)
    return replace(part, notes=notes)


def _part_of_logs(name: str, topic: str, logs: Logs) -> PushPart:
    """Return what the streams of a lane tell by themselves."""
    counted = [found.attempt for found in logs.attempts if found.counted]
    was_replayed = bool(logs.replays) or any(attempt.is_replay and not attempt.is_test for attempt in counted)
    last = counted[-1] if counted else None
    dead = None
    if logs.replays:
        state = PushState.REPLAYING
    elif logs.dead:
        state = PushState.DEAD
    elif last is None:
        state = PushState.UNKNOWN
    elif last.outcome is Outcome.DELIVERED:
        state = PushState.DELIVERED
    else:
        state = PushState.DROPPED if last.dead is not None else PushState.UNKNOWN
    if logs.dead:
        entry, fields = logs.dead[-1]
        reason = fields.get(b"dead_reason", b"").decode(errors="replace")
        dead = DeadPart(entry, int(fields.get(b"dead_at", b"0") or 0), reason)
    return PushPart(name, topic, state, logs.attempts, logs.replay_due_ms, dead, len(logs.replays), was_replayed)
