"""`data` of events that belong to the account: payments, and what its people and programs changed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

_PAYMENT_STATUS = {"payment.canceled": "canceled", "payment.expired": "expired", "payment.declined": "failed"}
_ABOUT_A_LINE = {"phone_number.forwarding_updated", "environment.line_moved", "zero_day_retention.updated"}
_TYPES = (
    "zero_day_retention.updated",
    "phone_number.forwarding_updated",
    "environment.line_moved",
    "environment.created",
    "environment.renamed",
    "environment.deleted",
    "contact_card.created",
    "contact_card.updated",
    "contact_card.deleted",
    "api_token.created",
    "api_token.renamed",
    "api_token.expiry_scheduled",
    "api_token.expired",
    "api_token.activated",
    "api_token.deleted",
    "webhook_subscription.created",
    "webhook_subscription.deleted",
    "webhook_subscription.target_url_changed",
    "webhook_subscription.enabled",
    "webhook_subscription.disabled",
    "webhook_subscription.events.updated",
    "webhook_subscription.phone_numbers.updated",
    "webhook_subscription.routing_headers_set",
    "webhook_subscription.routing_headers_cleared",
    "team_member.added",
    "team_member.signed_in",
    "team_member.signed_out",
)


def _payment(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    payment = _id(scene, "payment")
    return {
        "id": payment,
        "object": "payment_request",
        "status": _PAYMENT_STATUS.get(event_type, "succeeded"),
        "amount": 4200,
        "currency": "usd",
        "checkout_url": f"https://pay.linqapp.com/{payment}",
        "created_at": scene.at,
        "updated_at": scene.at,
        "mode": "payment",
        "rail": "stripe",
    }


def _change(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    family = event_type.partition(".")[0]
    data = {
        "actor": {
            "type": "team_member",
            "id": _id(scene, "actor"),
            "email": "robin@example.com",
            "name": "Robin Field",
        },
        "occurred_at": scene.at,
        "origin": "dashboard",
        "summary": f"Robin Field: {event_type}",
    }
    if event_type in _ABOUT_A_LINE or family == "contact_card":
        data["phone_number"] = scene.line
    if family in _SUBJECTS:
        data[family] = {"id": _id(scene, family), **_SUBJECTS[family]}
    if family == "environment":
        data["environment"] = {"name": "production", "type": "environment"}
    return data


_SUBJECTS: dict[str, dict[str, Any]] = {
    "contact_card": {"first_name": "Robin", "last_name": "Field", "image_url": None},
    "api_token": {"token_prefix": "lq_live_", "name": "relay", "expires_at": None},
    "webhook_subscription": {"target_url": "https://relay.example.com/webhooks/linq", "events": ["message.received"]},
    "team_member": {"name": "Robin Field", "role": "member"},
}


def _id(scene: Scene, what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{what} {scene.message_id}"))


BUILDERS: dict[str, Builder] = {
    **dict.fromkeys(
        (
            "payment.succeeded",
            "payment.canceled",
            "payment.expired",
            "payment.declined",
            "payment.authorized",
            "connection.created",
            "connection.revoked",
        ),
        _payment,
    ),
    **dict.fromkeys(_TYPES, _change),
}
