"""Payloads of payments: `payment.*` and `connection.*`, which in the SDK share the shape of a payment request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.sandbox.payloads.scenario import Builder, Scenario

_STATUSES = {
    "payment.succeeded": "succeeded",
    "payment.canceled": "canceled",
    "payment.expired": "expired",
    "payment.declined": "failed",
    "payment.authorized": "succeeded",  # the SDK has no status between requested and succeeded
    "connection.created": "succeeded",
    "connection.revoked": "canceled",
}


def _payment(event_type: str, scenario: Scenario, _: str) -> dict[str, Any]:
    request = scenario.id_of("payment request")
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
        "metadata": {"chat_id": scenario.chat_id},
        "created_at": scenario.at,
        "updated_at": scenario.at,
    }


BUILDERS: dict[str, Builder] = dict.fromkeys(_STATUSES, _payment)
