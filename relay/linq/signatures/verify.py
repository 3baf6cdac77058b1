"""Verification of a webhook, without I/O: takes headers, body, secrets and now; returns a `VerifiedWebhook` or raises.

    check    the headers alone, in the same order, before a long body has arrived
    verify   Standard Webhooks headers if present, else the older headers (v3); `sha256=` (v2)
    read     the event's id and type, and what names its shard

The line comes from the secret that verified, not from the payload. A body that Linq signed but that is not an envelope
raises `Unparsable` only after its signature was verified, so that the caller can quarantine it and respond with 200.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Dialect, VerifiedWebhook
from relay.linq.payloads.shard_key import read_head
from relay.linq.signatures import standard, v2, v3_legacy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.line_secret import LineSecret
    from relay.linq.signatures.headers import Headers


def verify_v3(
    headers: Headers, body: bytes, secrets: Sequence[LineSecret], now: float, remote: str | None = None
) -> VerifiedWebhook:
    """Verify a v3 webhook from the address `remote`; `now` is Unix seconds.

    Raises:
        BadSignature: it is not from Linq, or not fresh. A valid older signature does not make up for a wrong Standard
            Webhooks one: only the latter covers `webhook-id`.
        Unparsable: it is from Linq, but not an envelope.
    """
    if standard.is_present(headers):
        webhook_id, known = standard.verify(headers, body, secrets, now)
        return _verified(Dialect.V3, body, known, remote, webhook_id)
    return _verified(Dialect.V3, body, v3_legacy.verify(headers, body, secrets, now), remote)


def verify_v2(
    headers: Headers, body: bytes, secrets: Sequence[LineSecret], remote: str | None = None
) -> VerifiedWebhook:
    """Verify a v2 webhook from the address `remote`.

    Raises:
        BadSignature: it is not from Linq.
        Unparsable: it is from Linq, but not an envelope.
    """
    return _verified(Dialect.V2, body, v2.verify(headers, body, secrets), remote)


def check_v3_headers(headers: Headers, now: float) -> None:
    """Check the signature headers of a v3 webhook; `now` is Unix seconds.

    Raises:
        BadSignature: `verify_v3` would refuse them with any body and any secret.
    """
    (standard if standard.is_present(headers) else v3_legacy).check_headers(headers, now)


def check_v2_headers(headers: Headers, _: float) -> None:
    """Check the signature header of a v2 webhook, which has no time.

    Raises:
        BadSignature: `verify_v2` would refuse it with any body and any secret.
    """
    v2.check_headers(headers)


def _verified(
    dialect: Dialect, body: bytes, known: LineSecret, remote: str | None, webhook_id: str | None = None
) -> VerifiedWebhook:
    head = read_head(body)
    return VerifiedWebhook(
        id=head.event_id,
        type=head.event_type,
        dialect=dialect,
        webhook_id=webhook_id or head.event_id,
        line=known.line,
        body=body,
        generation=known.generation,
        trace=head.trace_id,
        remote=remote,
        account=known.account,
        keyed=head.data,
    )
