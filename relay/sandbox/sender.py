"""How Linq delivers: a signed POST per subscription that wants the event, tried again for about 25 minutes.

Both header families on every delivery, a new timestamp on every attempt; 10 s for an answer; 5xx, 429 and network
errors are tried again (ten attempts, exponential, jittered, no wait over ten minutes), any other 4xx and a name that
does not resolve are final. Further events do not wait for an answer (https://docs.linqapp.com/guides/webhooks).
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import aiohttp

from relay.linq import legacy, standard
from relay.sandbox.payloads import NEW, exists_in
from relay.sandbox.state import Attempt, Delivery, SandboxState, Subscription, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS = (5, 10, 20, 40, 80, 160, 320, 430, 430)
"""Seconds before the second ... tenth attempt: 25 minutes. Linq does not publish its own."""

_JITTER = 0.1
_TIMEOUT = 10.0
_TOO_MANY = 429
_SERVER_ERROR = 500


class Deliveries:
    """Sends events to the subscriptions that want them."""

    def __init__(self, state: SandboxState, session: aiohttp.ClientSession, speed: float, seed: int) -> None:
        """`speed` divides every wait between attempts; `seed` makes the jitter repeatable."""
        self._state = state
        self._session = session
        self._speed = speed
        self._random = random.Random(seed)  # noqa: S311  jitter is no secret
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, event_type: str, event_id: str, line: str | None, body_of: Callable[[str], bytes]) -> int:
        """Starts the deliveries of one event, `body_of` a payload version; how many subscriptions want it."""
        wanting = [
            one
            for one in self._state.subscriptions.values()
            if one.wants(event_type, line) and exists_in(event_type, _version_of(one))
        ]
        for subscription in wanting:
            delivery = Delivery(event_id, event_type, line, subscription.id)
            self._state.deliveries.append(delivery)
            task = asyncio.create_task(self._deliver(subscription, delivery, body_of(_version_of(subscription))))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(wanting)

    async def settled(self) -> None:
        """Returns once nothing is on its way any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Gives up everything that is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, subscription: Subscription, delivery: Delivery, body: bytes) -> None:
        for wait in (*WAITS, None):
            delivery.state = "sending"
            attempt, again = await self._attempt(subscription, delivery, body)
            delivery.attempts.append(attempt)
            if not again or wait is None:
                break
            delivery.state = "waiting"
            await asyncio.sleep(wait * (1 + _JITTER * (2 * self._random.random() - 1)) / self._speed)
            if subscription.id not in self._state.subscriptions:  # events stop at once when one is deleted
                break
        ok = attempt.status is not None and 200 <= attempt.status < 300
        delivery.state = "delivered" if ok else "failed"

    async def _attempt(self, subscription: Subscription, delivery: Delivery, body: bytes) -> tuple[Attempt, bool]:
        """One POST, and whether another may help."""
        began = time.monotonic()
        at = rfc3339(datetime.now(UTC))
        status, error, again = None, "", False
        try:
            headers = headers_of(subscription, delivery.event_id, delivery.event_type, int(time.time()), body)
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
            async with self._session.post(
                subscription.target_url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                status = answer.status
                again = status == _TOO_MANY or status >= _SERVER_ERROR
                await answer.read()
        except (aiohttp.ClientConnectorDNSError, ValueError) as trouble:
            error = str(trouble)  # a name or a header that cannot be: trying again would not help
        except (TimeoutError, aiohttp.ClientError, OSError) as trouble:
            error, again = str(trouble) or type(trouble).__name__, again or status is None
        return Attempt(at, round((time.monotonic() - began) * 1000), status, error), again


def headers_of(
    subscription: Subscription, event_id: str, event_type: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers of one v3 delivery."""
    return {
        "Content-Type": "application/json",
        **standard.sign(subscription.secret, event_id, timestamp, body),
        legacy.EVENT: event_type,
        legacy.SUBSCRIPTION_ID: subscription.id,
        **legacy.sign(subscription.secret, timestamp, body),
    }


def _version_of(subscription: Subscription) -> str:
    """The payload version that the target URL asks for; the newest without one."""
    return parse_qs(urlsplit(subscription.target_url).query).get("version", [NEW])[0]
