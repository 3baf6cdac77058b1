"""Signed webhooks for tests: a body with every kind of signature, and helpers to corrupt it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict

from relay.core.line_secret import LineSecret
from relay.core.secret import SigningSecret
from tests.building import LINE, SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

SENT_AT = 1_789_377_302
"""The time at which the vector below was sent, in Unix seconds."""

EVENT_ID = "5f607182-93a4-4b5c-86e7-f8091a2b3c45"

BODY = (
    b'{"api_version":"v3","webhook_version":"2026-02-03","event_type":"chat.typing_indicator.started",'
    b'"event_id":"5f607182-93a4-4b5c-86e7-f8091a2b3c45","created_at":"2026-09-14T09:15:02Z",'
    b'"trace_id":"6b1f0c9d2a7e4583b0d4e1f29a8c7d35","partner_id":"prt_demo_042",'
    b'"data":{"chat_id":"5d1c7e0a-3b52-4c8e-9a41-0f6b7d2e8c11"}}'
)

STANDARD_SIGNATURE = "v1,fJnKsh+XGwhaM15dwel57uNC0Of2FsCCHClD8nvbv+8="
LEGACY_SIGNATURE = "08333cb60e0a110584bb0f81c6b6280a542cd91f28ba838e9cc36b0f916d2676"
LEGACY_SIGNATURE_OF_DECODED_KEY = "15e811db9051dd694354050661d5304b3e78200622de1c171a6c2fbfb0673398"

V2_SECRET = SigningSecret("relay-v2-secret")
V2_BODY = (
    b'{"api_version":"v2","created_at":"2026-09-14T09:15:02-06:00","data":{"chat_id":"11111","id":"12345",'
    b'"read_at":"2026-09-14T09:15:02-06:00"},"event_id":"0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f",'
    b'"event_type":"message.read"}'
)
V2_SIGNATURE = "sha256=76021dbd2ad1945ff937014efc498dae830372878679a1f7d2434baf9dc7086e"

KNOWN = LineSecret(LINE, 1, SECRET)
V2_KNOWN = LineSecret(None, 0, V2_SECRET)


def standard_headers() -> CIMultiDict[str]:
    """Return the Standard Webhooks headers of the vector."""
    return CIMultiDict(
        {"webhook-id": EVENT_ID, "webhook-timestamp": str(SENT_AT), "webhook-signature": STANDARD_SIGNATURE}
    )


def legacy_headers() -> CIMultiDict[str]:
    """Return the older headers of the vector."""
    return CIMultiDict({"X-Webhook-Timestamp": str(SENT_AT), "X-Webhook-Signature": LEGACY_SIGNATURE})


def both_headers() -> CIMultiDict[str]:
    """Return the headers that Linq sends with every v3 delivery."""
    return CIMultiDict([*standard_headers().items(), *legacy_headers().items()])


def v2_headers() -> CIMultiDict[str]:
    """Return the headers that Linq sends with a v2 delivery."""
    return CIMultiDict({"X-Webhook-Signature": V2_SIGNATURE})


def changed(headers: CIMultiDict[str], name: str, *values: str) -> CIMultiDict[str]:
    """Return `headers` with these values of `name` and no other."""
    others = CIMultiDict(headers)
    others.popall(name, None)
    for value in values:
        others.add(name, value)
    return others


def body_of(event_type: str, data: Mapping[str, Any], **envelope: Any) -> bytes:
    """Return a body with an id and the given fields only."""
    return json.dumps({"event_id": EVENT_ID, "event_type": event_type, "data": data, **envelope}).encode()
