"""The headers of a pushed event: those of the relay, and signatures in the header families that Linq uses.

A handler written for Linq works behind the relay with only its secret changed; `relay listen` sends the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.core.event import Dialect, Freshness
from relay.linq.payloads.translation.translate import translate
from relay.linq.signatures import standard, v2, v3_legacy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.secret import SigningSecret
    from relay.store.topics.record import Record

EVENT_ID = "Relay-Event-Id"
SHADOW_OF = "Relay-Shadow-Of"
"""The header by which a shadow knows that another subscription gets the event too, and acts on it."""


class Shaped(NamedTuple):
    """An event for a subscription with `shape`."""

    record: Record
    """The event; its body may be a translated one."""
    mark: str | None
    """The value of `Relay-Shape`; None if Linq sent the body in the wanted version."""


def in_shape(record: Record, shape: str) -> Shaped:
    """Return an event with its body in a version of Linq's payloads, as far as it can be translated."""
    body, version, mark = translate(record.body, record.type, record.version, shape)
    return Shaped(record if body is record.body else record._replace(body=body, version=version), mark)


def signature_headers(secrets: Sequence[SigningSecret], record: Record, timestamp: int) -> dict[str, str]:
    """Return the Standard Webhooks headers, with a signature for each secret, and the headers of one older family.

    The older family is that of the API that the event came through: v3's `X-Webhook-Timestamp` and hex signature, or
    v2's `sha256=` over the body alone. They share a header's name, so only one can be sent, and it has room for one
    signature: that of the first secret.
    """
    newest, body = secrets[0], record.body
    headers = standard.sign(newest, record.webhook_id, timestamp, body, *secrets[1:])
    headers |= v2.sign(newest, body) if record.version == Dialect.V2 else v3_legacy.sign(newest, timestamp, body)
    return headers


def attempt_headers(
    record: Record,
    topic: str,
    number: int,
    *,
    is_replay: bool = False,
    is_test: bool = False,
    shape: str | None = None,
) -> dict[str, str]:
    """Return the headers of attempt `number` (from 1), without its signatures; `shape` is the mark of `in_shape`."""
    headers = {
        v3_legacy.EVENT: record.type,
        "Relay-Topic": topic,
        "Relay-Attempt": str(number),
        EVENT_ID: record.id,
    }
    if record.line:
        headers["Relay-Line"] = record.line
    if record.account:
        headers["Relay-Account"] = record.account
    if record.freshness is Freshness.HISTORY:
        headers["Relay-Freshness"] = record.freshness
    if shape is not None:
        headers["Relay-Shape"] = shape
    if record.source:
        headers["Relay-Source"] = record.source
    if is_replay:
        headers["Relay-Test" if is_test else "Relay-Replay"] = "true"
    return headers
