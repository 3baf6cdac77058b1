"""Delivery of a v3 event with retries (https://docs.linqapp.com/guides/webhooks).

Each attempt is signed in both header families with a new timestamp. With delivery affinity, it also carries the chat id
and the routing token of the chat, which is learned from 2xx responses. 5xx, 429 and network errors are retried: ten
attempts over about 25 minutes, exponential backoff with jitter, no delay over ten minutes. Any other status and a host
name that does not resolve are final.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from relay.sandbox.delivery.signing import routing_headers, v3_headers
from relay.sandbox.payloads import NEW, exists_in

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sandbox.delivery.post import Poster, PostResult
    from relay.sandbox.events.event import RawEvent, SandboxEvent, V3Event
    from relay.sandbox.faults.active import DeliveryEffects
    from relay.sandbox.state import Delivery, SandboxState, Subscription

RETRY_DELAYS = (5, 10, 20, 40, 80, 160, 320, 430, 430)
"""Seconds before the second to tenth attempt, 25 minutes in total. Linq does not publish its own delays."""

_JITTER = 0.1


class Backoff:
    """Delays between attempts, with jitter."""

    def __init__(self, speed: float, seed: int) -> None:
        """`speed` divides the delays; `seed` makes the jitter repeatable."""
        self._speed = speed
        self._rng = random.Random(seed)  # noqa: S311  jitter, not a secret

    async def sleep(self, delay: float) -> None:
        """Sleep for `delay` seconds, give or take the jitter."""
        await asyncio.sleep(delay * (1 + _JITTER * (2 * self._rng.random() - 1)) / self._speed)


@dataclass(frozen=True, slots=True)
class V3DeliveryTask:
    """The delivery of one event to one subscription."""

    subscription: Subscription
    event: V3Event | RawEvent
    effects: DeliveryEffects
    delivery: Delivery
    state: SandboxState
    poster: Poster
    backoff: Backoff

    async def run(self, reconciled_at: datetime | None) -> None:
        """Attempt the delivery until it succeeds, fails for good or runs out of retries; record each attempt."""
        body, chat = self.event.content(_version_of(self.subscription), reconciled_at)
        is_delivered = False
        for delay in (0, *RETRY_DELAYS):
            if delay:
                self.delivery.state = "waiting"
                await self.backoff.sleep(delay)
            if not self._is_subscribed():
                break
            self.delivery.state = "sending"
            result = await self._attempt(body, chat)
            if not result.is_retryable:
                is_delivered = result.is_ok
                break
        self.delivery.state = "delivered" if is_delivered else "failed"

    async def _attempt(self, body: bytes, chat: str | None) -> PostResult:
        subscription, event = self.subscription, self.event
        timestamp = int(time.time()) + self.effects.offset
        headers = routing_headers(subscription, chat)
        headers |= v3_headers(subscription, event.event_type, event.event_id, timestamp, body, self.effects)
        result = await self.poster.post(subscription.target_url, headers, body)
        self.delivery.attempts.append(result.attempt)
        key = subscription.routing_key_header
        if result.is_ok and key and chat and (token := result.headers.get(key)):
            subscription.learn_token(chat, token)
        return result

    def _is_subscribed(self) -> bool:
        """Return False once the subscription is inactive or deleted: Linq then stops its retries at once."""
        return self.subscription.is_active and self.subscription.id in self.state.subscriptions


def v3_targets(event: SandboxEvent, state: SandboxState) -> list[tuple[Subscription, V3Event | RawEvent]]:
    """Return the v3 subscriptions that match the event, each with the v3 form of the event."""
    v3_event = event.v3
    if v3_event is None:
        return []
    account = state.account_of(event.line) if event.line else event.account
    return [
        (subscription, v3_event)
        for subscription in state.subscriptions.values()
        if subscription.account == account
        and subscription.matches(v3_event.event_type, event.line)
        and exists_in(v3_event.event_type, _version_of(subscription))
    ]


def _version_of(subscription: Subscription) -> str:
    """Return the payload version in the query of the target URL; by default the newest."""
    return parse_qs(urlsplit(subscription.target_url).query).get("version", [NEW])[0]
