"""The HTTP sender: one POST, and what came of it.

The body goes out as Linq signed it, under the same `webhook-id`, signed anew with the subscription's own secrets in the
header families that Linq uses, so that a handler written for Linq works behind the relay with nothing changed but the
secret. No redirects, a bounded time, a bounded answer; whether to try again is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from relay.core.durations import format_duration
from relay.core.event import Freshness
from relay.core.outcome import Attempt, Outcome, outcome_of_status, retry_after_seconds
from relay.linq import legacy, standard, v2
from relay.tls import context_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.config import Subscription
    from relay.core.endpoint import Endpoint
    from relay.store.lanes import Delivery
    from workers.egress import Sessions

_EXACT = 60.0  # seconds: aiohttp rounds longer timeouts up to whole ones
_MOST_READ = 64 * 1024  # bytes of an answer; one that is longer costs its connection
_MOST_KEPT = 4 * 1024

V2 = "v2"


class Sender:
    """POSTs deliveries."""

    def __init__(self, sessions: Sessions, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._sessions = sessions
        self._clock = clock

    async def attempt(self, subscription: Subscription, endpoint: Endpoint, delivery: Delivery, number: int) -> Attempt:
        """Makes attempt `number` (from 1) of `delivery`."""
        began = self._clock()
        status: int | None = None
        detail, retry_after = "", None
        try:
            headers = headers_of(subscription, endpoint, delivery, number, int(began))
            url = URL(subscription.url)
            timeout = aiohttp.ClientTimeout(
                total=subscription.timeout, sock_connect=subscription.connect_timeout, ceil_threshold=_EXACT
            )
            async with (
                self._sessions.toward(url, endpoint.egress) as session,
                session.post(
                    url,
                    data=delivery.record.body,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,
                    ssl=context_for(endpoint),
                ) as answer,
            ):
                status = answer.status
                outcome = outcome_of_status(status)
                retry_after = retry_after_seconds(answer.headers.get("Retry-After"), began)
                text = await answer.content.read(_MOST_READ)
                if outcome is not Outcome.DELIVERED:
                    detail = text[:_MOST_KEPT].decode(errors="replace")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            detail = _words_for(error, subscription)
            if status is None:
                outcome = Outcome.TIMED_OUT if isinstance(error, TimeoutError) else Outcome.UNREACHABLE
            else:
                outcome = outcome_of_status(status)  # the answer came; only its body did not
        except ValueError as error:  # a URL or a header that cannot be sent
            outcome, detail = Outcome.FAILED, str(error)
        took = self._clock() - began
        return Attempt(outcome, round(began * 1000), round(took * 1000), status, detail, retry_after)


def _words_for(error: Exception, subscription: Subscription) -> str:
    """What went wrong, for a person: aiohttp's own words show its insides, or nothing at all."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {format_duration(subscription.connect_timeout)}"
        case TimeoutError():
            return f"no answer within {format_duration(subscription.timeout)}"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not accepted: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientResponseError():
            return f"its answer is not HTTP: {error.message}"
        case _:
            return str(error) or type(error).__name__


def headers_of(
    subscription: Subscription, endpoint: Endpoint, delivery: Delivery, number: int, timestamp: int
) -> dict[str, str]:
    """The headers of one attempt.

    The Standard family always, with a signature of each secret; beside it the older one of the API that the event came
    through: v3's `X-Webhook-Timestamp` and hex signature, or v2's `sha256=` over the body alone, which share a header's
    name and cannot both be sent. An older one has room for one signature, that of the first secret.
    """
    record = delivery.record
    headers = {
        "Content-Type": "application/json",
        legacy.EVENT: record.type,
        legacy.SUBSCRIPTION_ID: subscription.name,
        "Relay-Topic": delivery.topic,
        "Relay-Attempt": str(number),
        "Relay-Event-Id": record.id,
    }
    if record.line:
        headers["Relay-Line"] = record.line
    if record.freshness is Freshness.HISTORY:
        headers["Relay-Freshness"] = record.freshness
    if delivery.is_replay:
        headers["Relay-Replay"] = "true"
    headers |= endpoint.headers
    newest, *former = endpoint.secrets
    headers |= standard.sign(newest, record.webhook_id, timestamp, record.body, *former)
    if record.version == V2:
        return headers | v2.sign(newest, record.body)
    return headers | legacy.sign(newest, timestamp, record.body)
