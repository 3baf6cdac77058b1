"""The headers of a delivery, signed as each API signs, with what the faults in force do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.secret import SigningSecret, new_secret
from relay.linq.signatures import standard, v2, v3_legacy

if TYPE_CHECKING:
    from relay.sandbox.faults.active import Treatment
    from relay.sandbox.state import Subscription, V2Subscription

_JSON = {"Content-Type": "application/json"}


def v3_headers(
    subscription: Subscription, event_type: str, event_id: str, timestamp: int, body: bytes, treatment: Treatment
) -> dict[str, str]:
    """The headers of one v3 delivery, without those of delivery affinity."""
    secret = _secret(subscription.secret, treatment)
    headers = dict(_JSON)
    if treatment.only != "legacy":
        headers |= standard.sign(secret, event_id, timestamp, body)
    if treatment.only != "standard":
        headers |= {v3_legacy.EVENT: event_type, v3_legacy.SUBSCRIPTION_ID: subscription.id}
        headers |= v3_legacy.sign(secret, timestamp, body)
    return headers


def routing_headers(subscription: Subscription, chat: str | None) -> dict[str, str]:
    """The headers of delivery affinity: the chat's id, and its token once one is known."""
    if subscription.routing_key_header is None or subscription.id_header is None or chat is None:
        return {}
    token = subscription.tokens.get(chat)
    return {subscription.id_header: chat, **({subscription.routing_key_header: token} if token else {})}


def v2_headers(subscription: V2Subscription, body: bytes, treatment: Treatment) -> dict[str, str]:
    """The headers of one v2 delivery; without a secret there is nothing to sign with."""
    if not subscription.secret:
        return dict(_JSON)
    return _JSON | v2.sign(_secret(SigningSecret(subscription.secret), treatment), body)


def _secret(secret: SigningSecret, treatment: Treatment) -> SigningSecret:
    return SigningSecret(new_secret()) if treatment.is_forged else secret
