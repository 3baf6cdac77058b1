"""`data` of messages and reactions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.scene import OLD

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene


def _message(event_type: str, scene: Scene, version: str) -> dict[str, Any]:
    inbound = event_type == "message.received"
    return (
        _message_old(event_type, scene, inbound=inbound)
        if version == OLD
        else _message_new(event_type, scene, inbound=inbound)
    )


def _message_new(event_type: str, scene: Scene, *, inbound: bool) -> dict[str, Any]:
    return {
        "chat": scene.chat,
        "id": scene.message_id,
        "direction": "inbound" if inbound else "outbound",
        "sender_handle": scene.handle(scene.customer if inbound else scene.line),
        "parts": [{"type": "text", "value": scene.text}],
        "effect": None,
        "reply_to": None,
        "idempotency_key": None,
        "preferred_service": None,
        "sent_at": scene.at,
        "delivered_at": scene.at if event_type in {"message.delivered", "message.read"} else None,
        "read_at": scene.at if event_type == "message.read" else None,
        "service": scene.service,
    }


def _message_old(event_type: str, scene: Scene, *, inbound: bool) -> dict[str, Any]:
    sender = scene.customer if inbound else scene.line
    delivered = event_type in {"message.delivered", "message.read"}
    read = event_type == "message.read"
    data: dict[str, Any] = {
        "chat_id": scene.chat_id,
        "from": sender,
        "from_handle": scene.handle(sender),
        "recipient_phone": scene.line if inbound else None,
        "recipient_handle": scene.handle(scene.line) if inbound else None,
        "is_from_me": not inbound,
        "is_group": scene.is_group,
        "service": scene.service,
        "preferred_service": None,
        "idempotency_key": None,
        "received_at": scene.at if inbound else None,
        "message": {
            "id": scene.message_id,
            "parts": [{"type": "text", "value": scene.text}],
            "is_delivered": delivered,
            "is_read": read,
            "sent_at": scene.at,
            "delivered_at": scene.at if delivered else None,
            "read_at": scene.at if read else None,
            "created_at": scene.at,
            "updated_at": scene.at,
        },
    }
    if delivered:
        data["message_id"] = scene.message_id
        data["read_at" if read else "delivered_at"] = scene.at
    return data


def _message_failed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "message_id": scene.message_id,
        "code": 4001,
        "reason": "Message send failed",
        "service": scene.service,
        "preferred_service": None,
        "failed_at": scene.at,
    }


def _message_edited(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat": scene.chat,
        "id": scene.message_id,
        "direction": "inbound",
        "sender_handle": scene.handle(scene.customer),
        "part": {"index": 0, "text": scene.text},
        "edited_at": scene.at,
    }


def reaction(_: str, scene: Scene, __: str) -> dict[str, Any]:
    """`data` of a reaction, be it to a message or to a poll."""
    return {
        "chat_id": scene.chat_id,
        "message_id": scene.message_id,
        "part_index": 0,
        "reaction_id": str(uuid.uuid4()),
        "reaction_type": "like",
        "custom_emoji": None,
        "sticker": None,
        "is_from_me": False,
        "from": scene.customer,
        "from_handle": scene.handle(scene.customer),
        "service": scene.service,
        "reacted_at": scene.at,
    }


BUILDERS: dict[str, Builder] = {
    "message.received": _message,
    "message.sent": _message,
    "message.delivered": _message,
    "message.read": _message,
    "message.failed": _message_failed,
    "message.edited": _message_edited,
    "reaction.added": reaction,
    "reaction.removed": reaction,
}
