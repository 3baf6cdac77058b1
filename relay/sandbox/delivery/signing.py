"""Signed headers of deliveries for each API, with the effects of the active faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.secret import SigningSecret, new_secret
from relay.linq.signatures import standard, v2, v3_legacy

if TYPE_CHECKING:
    from relay.sandbox.faults.active import DeliveryEffects
    from relay.sandbox.state import Subscription, V2Subscription

_JSON = {"Content-Type": "application/json"}


def v3_headers(
    subscription: Subscription, event_type: str, event_id: str, timestamp: int, body: bytes, effects: DeliveryEffects
) -> dict[str, str]:
    """Return the headers of a v3 delivery, without those of delivery affinity."""
    secret = _secret(subscription.secret, effects)
    headers = dict(_JSON)
    if effects.only != "legacy":
        headers |= standard.sign(secret, event_id, timestamp, body)
    if effects.only != "standard":
        headers |= {v3_legacy.EVENT: event_type, v3_legacy.SUBSCRIPTION_ID: subscription.id}
        headers |= v3_legacy.sign(secret, timestamp, body)
    return headers


def routing_headers(subscription: Subscription, chat: str | None) -> dict[str, str]:
    """Return the headers of delivery affinity: the chat id, and its routing token if one is known."""
    if subscription.routing_key_header is None or subscription.id_header is None or chat is None:
        return {}
    token = subscription.tokens.get(chat)
    return {subscription.id_header: chat, **({subscription.routing_key_header: token} if token else {})}


def v2_headers(subscription: V2Subscription, body: bytes, effects: DeliveryEffects) -> dict[str, str]:
    """Return the headers of a v2 delivery; unsigned if the subscription has no secret."""
    if not subscription.secret:
        return dict(_JSON)
    return _JSON | v2.sign(_secret(SigningSecret(subscription.secret), effects), body)


def _secret(secret: SigningSecret, effects: DeliveryEffects) -> SigningSecret:
    return SigningSecret(new_secret()) if effects.is_forged else secret
