"""Request template: the bytes of a POST, from the head that all requests of a lane share and the headers of each.

The body is sent as Linq signed it, under the same `webhook-id`, and signed again with the subscription's own secrets in
the header families that Linq uses: a handler written for Linq works behind the relay with only its secret changed. Only
a subscription with `shape` may get a body that the relay translated, marked with `Relay-Shape`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relay import __version__
from relay.linq.signatures import v3_legacy
from relay.net.target import Target
from relay.net.tls import context_for
from relay.process.telemetry.context import TRACEPARENT
from relay.store.topics.push_headers import EVENT_ID, SHADOW_OF, attempt_headers, signature_headers
from workers.transport.opening import Destination

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import Subscription
    from relay.store.lanes.delivery import Delivery
    from relay.store.topics.push_headers import Shaped
    from relay.store.topics.record import Record

_MAX_KINDS = 16_384  # some 8 MB; a kept one takes a fifth of the time

_finds_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search  # RFC 9110, 5.5


class KindLines:
    """The header lines that requests for similar events have in common, such as those of one line in one topic.

    The lanes of a process share them: 1,000 that read one topic with 256 lines would have 200 MB of their own.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, str] = {}  # by what the requests of a kind have in common

    def __len__(self) -> int:
        """Return the number of kinds that are kept."""
        return len(self._lines)

    def of(self, delivery: Delivery, number: int, record: Record, shape: str | None) -> str:
        """Return the lines for attempt `number` of `delivery`, sent as `record`; `shape` is the mark of that.

        Raises:
            ValueError: a header cannot be sent.
        """
        of_event = (record.type, record.line, record.account, record.freshness, record.source)
        kind = (
            *of_event,
            number,
            delivery.ref.stream,
            shape,
            delivery.is_replay and (delivery.topic, delivery.is_test),
        )
        if (lines := self._lines.get(kind)) is None:
            headers = attempt_headers(
                record, delivery.topic, number, is_replay=delivery.is_replay, is_test=delivery.is_test, shape=shape
            )
            del headers[EVENT_ID]
            if len(self._lines) >= _MAX_KINDS:
                self._lines.clear()
            lines = self._lines[kind] = _lines(headers)
        return lines


class RequestTemplate:
    """The template of one subscription's requests."""

    def __init__(self, subscription: Subscription, endpoint: Endpoint, kinds: KindLines) -> None:
        """Build the head that all requests share.

        Raises:
            ValueError: the url or a header cannot be sent.
        """
        target = Target.from_url(subscription.url)
        tls = context_for(endpoint) if target.is_https else None
        self.destination = Destination(target.host, target.port, tls, endpoint.egress, subscription.name)
        self._secrets = endpoint.secrets
        self._kinds = kinds
        self._head = f"POST {target.path} HTTP/1.1\r\n" + _lines(
            {
                "Host": target.host_header,
                "User-Agent": f"linq-relay/{__version__}",
                "Content-Type": "application/json",
                v3_legacy.SUBSCRIPTION_ID: subscription.name,
            }
            | ({SHADOW_OF: subscription.shadow_of} if subscription.shadow_of else {})
            | ({"Authorization": target.authorization} if target.authorization else {})
            | dict(endpoint.headers)
        )

    def request(
        self,
        delivery: Delivery,
        number: int,
        timestamp: int,
        traceparent: str | None = None,
        shaped: Shaped | None = None,
    ) -> bytes:
        """Return the request of attempt `number` (from 1) of `delivery`, made at `timestamp` (Unix seconds).

        `traceparent` is its trace context, if it is traced; `shaped` is the event for a subscription with `shape`.

        Raises:
            ValueError: a header cannot be sent.
        """
        record, shape = shaped or (delivery.record, None)
        body = record.body
        headers = signature_headers(self._secrets, record, timestamp)
        headers[EVENT_ID] = record.id
        if traceparent is not None:
            headers[TRACEPARENT] = traceparent
        lines = self._kinds.of(delivery, number, record, shape)
        return f"{self._head}{lines}{_lines(headers)}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _lines(headers: Mapping[str, str]) -> str:
    """Format headers as the lines of a request's head.

    Raises:
        ValueError: a value has a control character, which could end its line.
    """
    if _finds_control("".join(headers.values())):
        raise ValueError("a header has a control character")
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
