"""What payments tell: `payment.*` and `connection.*`, which the SDK gives one shape, the payment request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

_STATUSES = {
    "payment.succeeded": "succeeded",
    "payment.canceled": "canceled",
    "payment.expired": "expired",
    "payment.declined": "failed",
    "payment.authorized": "succeeded",  # the SDK knows no status between asked for and succeeded
    "connection.created": "succeeded",
    "connection.revoked": "canceled",
}


def _payment(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    request = scene.id_of("payment request")
    return {
        "id": request,
        "object": "payment_request",
        "status": _STATUSES[event_type],
        "amount": 4200,
        "currency": "usd",
        "checkout_url": f"https://zero.linqapp.com/pay/{request[:8]}",
        "mode": "payment",
        "rail": "stripe",
        "stripe": {"payment_intent_id": f"pi_{request[-12:]}"},
        "metadata": {"chat_id": scene.chat_id},
        "created_at": scene.at,
        "updated_at": scene.at,
    }


BUILDERS: dict[str, Builder] = dict.fromkeys(_STATUSES, _payment)
