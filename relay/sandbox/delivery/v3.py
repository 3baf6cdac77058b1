"""How a v3 event gets to one subscription (https://docs.linqapp.com/guides/webhooks).

Both header families, a new timestamp on every attempt, and with delivery affinity the chat's id and its routing token,
which is learned from the 2xx answers. 5xx, 429 and network errors are tried again (ten attempts over about 25 minutes,
exponential, jittered, no wait over ten minutes); any other 4xx and a name that does not resolve are final.
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

    from relay.sandbox.delivery.post import Answer, Poster
    from relay.sandbox.events.event import Happening, V3Telling, Verbatim
    from relay.sandbox.faults.active import Treatment
    from relay.sandbox.state import Delivery, SandboxState, Subscription

WAITS = (5, 10, 20, 40, 80, 160, 320, 430, 430)
"""Seconds before the second ... tenth attempt: 25 minutes. Linq does not publish its own."""

_JITTER = 0.1


class Pauses:
    """The waits between attempts."""

    def __init__(self, speed: float, seed: int) -> None:
        """`speed` divides them; `seed` makes their jitter repeatable."""
        self._speed = speed
        self._random = random.Random(seed)  # noqa: S311  jitter is no secret

    async def sleep(self, wait: float) -> None:
        """Waits for about `wait` seconds."""
        await asyncio.sleep(wait * (1 + _JITTER * (2 * self._random.random() - 1)) / self._speed)


@dataclass(frozen=True, slots=True)
class V3Errand:
    """One event on its way to one subscription."""

    subscription: Subscription
    telling: V3Telling | Verbatim
    treatment: Treatment
    delivery: Delivery
    state: SandboxState
    poster: Poster
    pauses: Pauses

    async def run(self, reconciled_at: datetime | None) -> None:
        """Tries until it is delivered or there is no point in trying; notes each attempt."""
        body, chat = self.telling.content(_version_of(self.subscription), reconciled_at)
        is_delivered = False
        for wait in (0, *WAITS):
            if wait:
                self.delivery.state = "waiting"
                await self.pauses.sleep(wait)
            if not self._is_wanted_still():
                break
            self.delivery.state = "sending"
            answer = await self._attempt(body, chat)
            if not answer.can_try_again:
                is_delivered = answer.is_ok
                break
        self.delivery.state = "delivered" if is_delivered else "failed"

    async def _attempt(self, body: bytes, chat: str | None) -> Answer:
        one, telling = self.subscription, self.telling
        timestamp = int(time.time()) + self.treatment.offset
        headers = routing_headers(one, chat)
        headers |= v3_headers(one, telling.event_type, telling.event_id, timestamp, body, self.treatment)
        answer = await self.poster.post(one.target_url, headers, body)
        self.delivery.attempts.append(answer.attempt)
        key = one.routing_key_header
        if answer.is_ok and key and chat and (token := answer.headers.get(key)):
            one.learn(chat, token)
        return answer

    def _is_wanted_still(self) -> bool:
        """Events stop at once when a subscription is paused or deleted."""
        return self.subscription.is_active and self.subscription.id in self.state.subscriptions


def takers_v3(happening: Happening, state: SandboxState) -> list[tuple[Subscription, V3Telling | Verbatim]]:
    """The subscriptions that want the event that v3 makes of it, each with that event."""
    telling = happening.v3
    if telling is None:
        return []
    return [
        (one, telling)
        for one in state.subscriptions.values()
        if one.wants(telling.event_type, happening.line) and exists_in(telling.event_type, _version_of(one))
    ]


def _version_of(subscription: Subscription) -> str:
    """The payload version that the target URL asks for; the newest without one."""
    return parse_qs(urlsplit(subscription.target_url).query).get("version", [NEW])[0]
