"""How a v2 event gets to one subscription: one POST, signed over the body alone (https://docs.linqapp.com/v2/api)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay.sandbox.delivery.signing import v2_headers
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from relay.sandbox.delivery.post import Poster
    from relay.sandbox.events.event import Happening, V2Telling, Verbatim
    from relay.sandbox.faults.active import Treatment
    from relay.sandbox.state import Delivery, SandboxState, V2Subscription


@dataclass(frozen=True, slots=True)
class V2Errand:
    """One event on its way to one subscription."""

    subscription: V2Subscription
    telling: V2Telling | Verbatim
    treatment: Treatment
    delivery: Delivery
    state: SandboxState
    poster: Poster

    async def run(self, _: datetime | None) -> None:
        """Tries once; v2 has no mark for what was reconciled."""
        one = self.subscription
        if not (one.active and one.id in self.state.v2_subscriptions):
            self.delivery.state = "failed"
            return
        self.delivery.state = "sending"
        one.delivery_attempts += 1
        body = self.telling.body()
        answer = await self.poster.post(one.webhook_url, v2_headers(one, body, self.treatment), body)
        self.delivery.attempts.append(answer.attempt)
        self.delivery.state = "delivered" if answer.is_ok else "failed"
        if answer.is_ok:
            one.last_delivered_at = rfc3339(datetime.now(UTC))


def takers_v2(happening: Happening, state: SandboxState) -> list[tuple[V2Subscription, V2Telling | Verbatim]]:
    """The subscriptions that want the event that v2 makes of it, each with that event."""
    telling = happening.v2
    if telling is None:
        return []
    return [(one, telling) for one in state.v2_subscriptions.values() if one.wants(telling.event_type)]
