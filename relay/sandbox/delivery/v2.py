"""Delivery of a v2 event: a single POST, signed over the body alone (https://docs.linqapp.com/v2/api)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.sandbox.delivery.signing import v2_headers
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from relay.sandbox.delivery.post import Poster
    from relay.sandbox.events.event import RawEvent, SandboxEvent, V2Event
    from relay.sandbox.faults.active import DeliveryEffects
    from relay.sandbox.state import Delivery, SandboxState, V2Subscription


@dataclass(frozen=True, slots=True)
class V2DeliveryTask:
    """The delivery of one event to one subscription."""

    subscription: V2Subscription
    event: V2Event | RawEvent
    effects: DeliveryEffects
    delivery: Delivery
    state: SandboxState
    poster: Poster

    async def run(self, _: datetime | None) -> None:
        """POST once; v2 events have no `reconciled_at`."""
        subscription = self.subscription
        if not (subscription.active and subscription.id in self.state.v2_subscriptions):
            self.delivery.state = "failed"
            return
        self.delivery.state = "sending"
        subscription.delivery_attempts += 1
        body = self.event.body()
        result = await self.poster.post(subscription.webhook_url, v2_headers(subscription, body, self.effects), body)
        self.delivery.attempts.append(result.attempt)
        self.delivery.state = "delivered" if result.is_ok else "failed"
        if result.is_ok:
            subscription.last_delivered_at = rfc3339(datetime.now(UTC))


def v2_targets(event: SandboxEvent, state: SandboxState) -> list[tuple[V2Subscription, V2Event | RawEvent]]:
    """Return the v2 subscriptions that match the event, each with the v2 form of the event."""
    v2_event = event.v2
    if v2_event is None or (event.line and state.account_of(event.line)):  # the v2 API is the first account's
        return []
    return [
        (subscription, v2_event)
        for subscription in state.v2_subscriptions.values()
        if subscription.matches(v2_event.event_type)
    ]
