"""Standard Webhooks family: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

HMAC-SHA256 over `{id}.{timestamp}.{body}` with the base64-decoded secret, written `v1,<base64>`; several signatures are
separated by spaces and one of them must be valid (https://docs.linqapp.com/guides/webhooks,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import hmac
from binascii import b2a_base64
from typing import TYPE_CHECKING

from relay.core.errors import BadSignature
from relay.linq.signatures.headers import fresh_timestamp, single

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.line_secret import LineSecret
    from relay.core.secret import SigningSecret
    from relay.linq.signatures.headers import Headers

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"
_LENGTH = 44  # of the base64 of a SHA-256
_MAX_SIGNATURES = 32  # a rotation needs two; a longer list is only work


def is_present(headers: Headers) -> bool:
    """Return True if any header of this family is present, so that removing one does not weaken the check."""
    return SIGNATURE in headers or ID in headers or TIMESTAMP in headers


def verify(headers: Headers, body: bytes, secrets: Iterable[LineSecret], now: float) -> tuple[str, LineSecret]:
    """Return the `webhook-id` and the secret that signed it.

    Raises:
        BadSignature: no secret made the signature, or the headers are invalid.
    """
    webhook_id = single(headers, ID)
    timestamp = fresh_timestamp(headers, TIMESTAMP, now)
    offered = _offered(headers)
    for known in secrets:
        expected = _signature(known.secret, webhook_id, timestamp, body)
        if expected and any([hmac.compare_digest(expected, signature) for signature in offered]):  # noqa: C419  all are compared
            return webhook_id, known
    raise BadSignature("no secret of this URL made the webhook-signature", another_secret_could_help=True)


def check_headers(headers: Headers, now: float) -> None:
    """Check the headers alone, before the body is there.

    Raises:
        BadSignature: no body and no secret can make them valid.
    """
    single(headers, ID)
    fresh_timestamp(headers, TIMESTAMP, now)
    if all(len(signature) != _LENGTH for signature in _offered(headers)):
        raise BadSignature(f"the header {SIGNATURE} has no v1 signature")


def sign(secret: SigningSecret, webhook_id: str, timestamp: int, body: bytes, *former: SigningSecret) -> dict[str, str]:
    """Return the headers of this family for `body`, signed with `secret` and each `former` secret; all are base64."""
    stamp = str(timestamp)
    signatures = f"v1,{_signature(secret, webhook_id, stamp, body)}"
    for key in former:
        signatures += f" v1,{_signature(key, webhook_id, stamp, body)}"
    return {ID: webhook_id, TIMESTAMP: stamp, SIGNATURE: signatures}


def _offered(headers: Headers) -> list[str]:
    return [
        signature.removeprefix("v1,")
        for signature in single(headers, SIGNATURE).split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
        if signature.startswith("v1,")
    ]


def _signature(secret: SigningSecret, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Return the base64 after `v1,`; empty if the secret has no decoded key."""
    if (key := secret.decoded_key) is None:
        return ""
    return b2a_base64(key.digest(f"{webhook_id}.{timestamp}.".encode(), body), newline=False).decode()
