"""Request template: the bytes of a POST, from the head that all requests of a lane share and the headers of each.

The body is sent as Linq signed it, under the same `webhook-id`, and signed again with the subscription's own secrets in
the header families that Linq uses: a handler written for Linq works behind the relay with only its secret changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relay import __version__
from relay.core.event import Dialect, Freshness
from relay.linq.signatures import standard, v2, v3_legacy
from relay.net.target import Target
from relay.net.tls import context_for
from relay.process.telemetry.context import TRACEPARENT
from workers.transport.pool import Destination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.store.lanes.lane import Delivery

_finds_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, 5.5


class RequestTemplate:
    """The template of one subscription's requests."""

    def __init__(self, subscription: Subscription, endpoint: Endpoint) -> None:
        """Build the shared head.

        Raises:
            ValueError: the url or a header cannot be sent.
        """
        target = Target.from_url(subscription.url)
        tls = context_for(endpoint) if target.is_https else None
        self.destination = Destination(target.host, target.port, tls, endpoint.egress, subscription.name)
        self._secrets = endpoint.secrets
        self._head = f"POST {target.path} HTTP/1.1\r\n" + _lines(
            {
                "Host": target.host_header,
                "User-Agent": f"linq-relay/{__version__}",
                "Content-Type": "application/json",
                v3_legacy.SUBSCRIPTION_ID: subscription.name,
            }
            | ({"Authorization": target.authorization} if target.authorization else {})
            | dict(endpoint.headers)
        )

    def request(self, delivery: Delivery, number: int, timestamp: int, traceparent: str | None = None) -> bytes:
        """Return the request of attempt `number` (from 1) of `delivery`, made at `timestamp` (Unix seconds).

        `traceparent` is its trace context, if it is traced.

        Raises:
            ValueError: a header cannot be sent.
        """
        body = delivery.record.body
        headers = _own_headers(delivery, number) | self._signatures(delivery, timestamp)
        if traceparent is not None:
            headers[TRACEPARENT] = traceparent
        return f"{self._head}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _signatures(self, delivery: Delivery, timestamp: int) -> dict[str, str]:
        """Return the Standard Webhooks headers, with a signature of each secret, and those of one older family.

        The older family is that of the API that the event came through: v3's `X-Webhook-Timestamp` and hex signature,
        or v2's `sha256=` over the body alone. They share a header's name, so only one can be sent, and it has room for
        one signature: that of the first secret.
        """
        record = delivery.record
        newest, *former = self._secrets
        older = (
            v2.sign(newest, record.body)
            if record.version == Dialect.V2
            else v3_legacy.sign(newest, timestamp, record.body)
        )
        return standard.sign(newest, record.webhook_id, timestamp, record.body, *former) | older


def _own_headers(delivery: Delivery, number: int) -> dict[str, str]:
    """Return the headers of one attempt, without its signatures."""
    record = delivery.record
    headers = {
        v3_legacy.EVENT: record.type,
        "Relay-Topic": delivery.topic,
        "Relay-Attempt": str(number),
        "Relay-Event-Id": record.id,
    }
    if record.line:
        headers["Relay-Line"] = record.line
    if record.freshness is Freshness.HISTORY:
        headers["Relay-Freshness"] = record.freshness
    if delivery.is_replay:
        headers["Relay-Test" if delivery.is_test else "Relay-Replay"] = "true"
    return headers


def _lines(headers: Mapping[str, str]) -> str:
    """Format headers as the lines of a request's head.

    Raises:
        ValueError: a value has a control character, which could end its line.
    """
    if _finds_control("".join(headers.values())):
        raise ValueError("a header has a control character")
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
