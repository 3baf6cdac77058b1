"""The overview: what flows now, what lags, and what needs a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from relay.core.access.scopes import Scope
from relay.core.errors import NotFound
from relay.services.deliveries import attempts, subscriptions
from relay.services.topics import topics
from relay.store.ledger.ledger import Ledger, Totals
from relay.store.state.history import MINUTE_MS, Minute, increases, last_hour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.core.access.principal import Principal
    from relay.services.context import Context
    from relay.services.deliveries.subscriptions import SubscriptionState
    from relay.services.topics.topics import TopicState

HOUR_MS = 60 * MINUTE_MS
_BUSIEST = 8  # subscriptions whose latest attempts the latency is taken from
_ATTEMPTS = 50  # of each

Rates = list[tuple[int, float]]
"""Events a second in the minute before each time (ms)."""


class Latency(NamedTuple):
    """The durations of the latest attempts, milliseconds."""

    median: float
    p95: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Flow:
    """The last hour of what a principal sees; a team sees the events of its topics only."""

    at_ms: int
    routed: Rates
    accepted: Rates
    delivered: Rates
    owed: tuple[tuple[int, int], ...]
    """Events that wait or are retried, by time (ms)."""
    topics: Mapping[str, Rates]
    by_subscription: Mapping[str, float]
    """Events delivered a second, over the last few minutes."""

    @property
    def is_known(self) -> bool:
        """True if there were two minutes to compare."""
        return bool(self.routed)


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of what a principal sees."""

    flow: Flow
    totals: Totals | None
    """Only for operators."""
    topics: Sequence[TopicState]
    subscriptions: Sequence[SubscriptionState]
    latency: Latency | None
    """None without attempts."""

    @property
    def troubled(self) -> Sequence[SubscriptionState]:
        """The subscriptions that do not deliver, or have dead letters."""
        return [each for each in self.subscriptions if each.needs_operator or (each.dead and each.shadow_of is None)]


async def read(context: Context, principal: Principal) -> Overview:
    """Return the overview."""
    principal.require(Scope.READ)
    states = await subscriptions.list_states(context, principal)
    found = await topics.list_states(context, principal)
    totals = await Ledger(context.redis).totals() if principal.is_operator else None
    flow = await read_flow(context, principal, {each.name for each in states})
    return Overview(flow, totals, found, states, await _latency(context, principal, flow.by_subscription))


async def read_flow(context: Context, principal: Principal, own: set[str]) -> Flow:
    """Return the last hour; `own` are the subscriptions that the principal sees."""
    now_ms = context.now_ms
    minutes, lanes = await last_hour(context.redis, now_ms)
    seen = {name for minute in minutes for name in minute.topics if principal.sees_topic(name)}
    by_topic = {name: _rates(minutes, [minute.topics.get(name, 0) for minute in minutes]) for name in sorted(seen)}
    if principal.is_operator:
        routed, accepted, delivered = (
            _rates(minutes, [getattr(minute, name) for minute in minutes])
            for name in ("routed", "accepted", "delivered")
        )
        owed = tuple((minute.at_ms, minute.waiting + minute.retrying) for minute in minutes)
    else:
        routed = _rates(minutes, [sum(minute.topics.get(name, 0) for name in seen) for minute in minutes])
        accepted, delivered, owed = [], [], ()
    rates = {}
    if len(lanes) == 2 and lanes[1].at_ms > lanes[0].at_ms:
        seconds = (lanes[1].at_ms - lanes[0].at_ms) / 1000
        for name in own & lanes[1].delivered.keys():
            rates[name] = max(lanes[1].delivered[name] - lanes[0].delivered.get(name, 0), 0) / seconds
    return Flow(now_ms, routed, accepted, delivered, owed, by_topic, rates)


def _rates(minutes: Sequence[Minute], values: Sequence[int]) -> Rates:
    return increases(list(zip((minute.at_ms for minute in minutes), values, strict=True)))


async def _latency(context: Context, principal: Principal, rates: Mapping[str, float]) -> Latency | None:
    """Return the latency of the latest attempts of the busiest subscriptions."""
    busiest = sorted((name for name, rate in rates.items() if rate), key=rates.__getitem__, reverse=True)[:_BUSIEST]
    took: list[int] = []
    for name in busiest:
        try:
            page = await attempts.search(context, principal, name, limit=_ATTEMPTS)
        except NotFound:  # dropped in this moment
            continue
        took += [found.attempt.took_ms for found in page.items]
    return latency_of(took)


def latency_of(took: Sequence[int]) -> Latency | None:
    """Return the median and the 95th percentile of durations."""
    if not took:
        return None
    ordered = sorted(took)
    return Latency(ordered[len(ordered) // 2], ordered[min(len(ordered) * 95 // 100, len(ordered) - 1)], len(ordered))
