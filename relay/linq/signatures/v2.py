"""Linq's v2 family: `X-Webhook-Signature: sha256=<hex>`.

HMAC-SHA256 over the raw body alone; the key is the UTF-8 of a secret that the operator chose
(https://docs.linqapp.com/v2/api). There is no timestamp and no id, so a replayed request is not detected here, but by
the deduplication of event ids.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from relay.core.errors import BadSignature
from relay.linq.signatures.headers import single
from relay.linq.signatures.v3_legacy import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.line_secret import LineSecret
    from relay.core.secret import SigningSecret
    from relay.linq.signatures.headers import Headers

_SCHEME = "sha256="
_LENGTH = 64  # of the hexadecimal of a SHA-256


def verify(headers: Headers, body: bytes, secrets: Iterable[LineSecret]) -> LineSecret:
    """Return the secret that signed.

    Raises:
        BadSignature: no secret made the signature, or the header is invalid.
    """
    offered = _offered(headers)
    for known in secrets:
        if hmac.compare_digest(_signature(known.secret, body), offered.lower()):
            return known
    raise BadSignature(f"LINQ_V2_WEBHOOK_SECRET did not make the {SIGNATURE}", another_secret_could_help=True)


def check_headers(headers: Headers) -> None:
    """Check the header alone, before the body is there.

    Raises:
        BadSignature: no body and no secret can make it valid.
    """
    if len(_offered(headers)) != len(_SCHEME) + _LENGTH:
        raise BadSignature(f"the header {SIGNATURE} is not a SHA-256 in hexadecimal")


def sign(secret: SigningSecret, body: bytes) -> dict[str, str]:
    """Return the signature header of this family for `body`."""
    return {SIGNATURE: _signature(secret, body)}


def _offered(headers: Headers) -> str:
    offered = single(headers, SIGNATURE)
    if not offered.startswith(_SCHEME):
        raise BadSignature(f"the header {SIGNATURE} does not start with {_SCHEME}")
    return offered


def _signature(secret: SigningSecret, body: bytes) -> str:
    return _SCHEME + hmac.digest(secret.whole, body, "sha256").hex()
