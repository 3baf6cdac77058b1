"""Linq's older v3 family: `X-Webhook-Timestamp`, `X-Webhook-Signature` (deprecated, still sent with every delivery).

Lower-case hex HMAC-SHA256 over `{timestamp}.{body}` (https://docs.linqapp.com/guides/webhooks, and more detailed
https://v3-api-docs.pages.dev/guides/webhooks). The key is the UTF-8 of the whole secret, including `whsec_`. A
signature with the decoded bytes is accepted too, since Linq's newest documentation no longer describes the
construction.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from relay.core.errors import BadSignature
from relay.linq.signatures.headers import fresh_timestamp, single

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.line_secret import LineSecret
    from relay.core.secret import SigningSecret
    from relay.linq.signatures.headers import Headers

EVENT = "X-Webhook-Event"
SUBSCRIPTION_ID = "X-Webhook-Subscription-ID"
TIMESTAMP = "X-Webhook-Timestamp"
SIGNATURE = "X-Webhook-Signature"
_LENGTH = 64  # of the hexadecimal of a SHA-256


def verify(headers: Headers, body: bytes, secrets: Iterable[LineSecret], now: float) -> LineSecret:
    """Return the secret that signed.

    Raises:
        BadSignature: no secret made the signature, or the headers are invalid.
    """
    offered = single(headers, SIGNATURE).lower()
    signed = b"%b.%b" % (fresh_timestamp(headers, TIMESTAMP, now).encode(), body)
    for known in secrets:
        for key in (known.secret.whole, known.secret.decoded):
            if key and hmac.compare_digest(hmac.digest(key, signed, "sha256").hex(), offered):
                return known
    raise BadSignature("no secret of this URL made the X-Webhook-Signature", another_secret_could_help=True)


def check_headers(headers: Headers, now: float) -> None:
    """Check the headers alone, before the body is there.

    Raises:
        BadSignature: no body and no secret can make them valid.
    """
    if len(single(headers, SIGNATURE)) != _LENGTH:
        raise BadSignature(f"the header {SIGNATURE} is not a SHA-256 in hexadecimal")
    fresh_timestamp(headers, TIMESTAMP, now)


def sign(secret: SigningSecret, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the signature headers of this family for `body`."""
    signature = secret.whole_key.digest(b"%d." % timestamp, body).hex()
    return {TIMESTAMP: str(timestamp), SIGNATURE: signature}
