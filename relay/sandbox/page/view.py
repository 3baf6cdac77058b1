"""View of the page on the state of the sandbox: rows of its tables, as texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from relay.linq.api.v3 import KNOWN_EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.sandbox.faults.active import ActiveFault
    from relay.sandbox.state import Delivery, SandboxState, Subscription, V2Subscription

MAX_RECENT = 50
STATES = ("held", "sending", "waiting", "delivered", "failed")


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Deliveries to show: those that match all given values; an empty one matches any."""

    state: str = ""
    event_id: str = ""
    subscription_id: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> DeliveryFilter:
        """Return the filter of a query; a state that does not exist is left out."""
        values = {name: query.get(name, "").strip() for name in ("state", "event_id", "subscription_id")}
        return cls(**values if values["state"] in STATES else values | {"state": ""})


@dataclass(frozen=True, slots=True)
class LineRow:
    """A line of the account."""

    number: str
    forwarded_to: str
    subscriptions: int
    """Number of active subscriptions that get its messages."""


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    """A subscription of either API."""

    id: str
    api: str
    url: str
    events: str
    lines: str
    is_active: bool
    notes: str


@dataclass(frozen=True, slots=True)
class FaultRow:
    """An active fault."""

    id: int
    kind: str
    settings: str
    hits_left: str
    delayed: int


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery with its attempts."""

    event_id: str
    event_type: str
    line: str
    api: str
    subscription_id: str
    state: str
    faults: tuple[str, ...]
    attempts: tuple[tuple[str, str], ...]
    """Time and result of each."""


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the live part of the page shows."""

    lines: list[LineRow]
    subscriptions: list[SubscriptionRow]
    foreign: list[str]
    faults: list[FaultRow]
    deliveries: list[DeliveryRow]
    """The latest that match, newest first."""
    matching: int
    total: int
    by_state: Mapping[str, int]


def view_of(state: SandboxState, chosen: DeliveryFilter) -> View:
    """Return the view, with the chosen deliveries."""
    found = state.deliveries_of(chosen.event_id or None, chosen.subscription_id or None, chosen.state or None)
    counts = Counter(delivery.state for delivery in state.deliveries)
    return View(
        lines=[_line(line, state) for line in state.lines],
        subscriptions=[
            *map(_subscription, state.subscriptions.values()),
            *map(_v2_subscription, state.v2_subscriptions.values()),
        ],
        foreign=sorted(state.foreign),
        faults=list(map(_fault, state.faults.active)),
        deliveries=list(map(_delivery, islice(reversed(found), MAX_RECENT))),
        matching=len(found),
        total=len(state.deliveries),
        by_state={name: counts[name] for name in STATES if counts[name]},
    )


def _line(line: str, state: SandboxState) -> LineRow:
    v3 = [each for each in state.subscriptions.values() if each.is_active and line in (each.phone_numbers or [line])]
    v2 = [each for each in state.v2_subscriptions.values() if each.active]
    return LineRow(line, state.forwarding.get(line, ""), len(v3) + len(v2))


def _subscription(subscription: Subscription) -> SubscriptionRow:
    headers = f"delivery affinity: {subscription.routing_key_header}, {subscription.id_header}"
    return SubscriptionRow(
        id=subscription.id,
        api="v3",
        url=subscription.target_url,
        events="all" if {*subscription.events} >= {*KNOWN_EVENT_TYPES} else ", ".join(subscription.events),
        lines=", ".join(subscription.phone_numbers) or "all",
        is_active=subscription.is_active,
        notes=headers if subscription.routing_key_header else "",
    )


def _v2_subscription(subscription: V2Subscription) -> SubscriptionRow:
    secret = "" if subscription.secret else "no secret; "
    return SubscriptionRow(
        id=str(subscription.id),
        api="v2",
        url=subscription.webhook_url,
        events=", ".join(subscription.events),
        lines="all",
        is_active=subscription.active,
        notes=f"{secret}{subscription.delivery_attempts} attempts; last {subscription.last_delivered_at or 'never'}",
    )


def _fault(active: ActiveFault) -> FaultRow:
    chosen = active.fault.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "count"})
    settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
    hits_left = "unlimited" if active.hits_left is None else str(active.hits_left)
    return FaultRow(active.id, active.fault.kind, settings, hits_left, active.delayed_count)


def _delivery(delivery: Delivery) -> DeliveryRow:
    return DeliveryRow(
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        line=delivery.line or "",
        api=delivery.api,
        subscription_id=delivery.subscription_id,
        state=delivery.state,
        faults=delivery.faults,
        attempts=tuple((each.at, f"{each.status or each.error} ({each.ms} ms)") for each in delivery.attempts),
    )
