"""What messages tell: `message.*`, the one family whose shape depends on the version, and `reaction.*`.

2026-02-03 is as the SDK has it (`linq.types.MessageEventV2`), 2025-01-01 as in Linq's older documents
(https://docs.linqapp.com/guides/webhooks/events).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.versions import OLD

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

FAILURES = {
    3007: "Maximum delivery attempts exceeded",
    4001: "Message send failed",
    4002: "Sender line is offline",
    4005: "Recipient cannot receive this type of message",
    4006: "Message send timed out",
    4007: "Message send failed",
    4008: "Message send failed",
}
"""The codes that `message.failed` and `poll.failed` can carry; Linq does not say what 4007 and 4008 mean."""


def receipts(event_type: str, scene: Scene) -> dict[str, Any]:
    """What a message or poll has come to by this event; null is what has not happened yet."""
    read = event_type.endswith(".read")
    delivered = read or event_type.endswith(".delivered")
    return {
        "sent_at": scene.at,
        "delivered_at": scene.told_at if delivered else None,
        "read_at": scene.told_at if read else None,
    }


def _message(event_type: str, scene: Scene, version: str) -> dict[str, Any]:
    inbound = event_type == "message.received"
    build = _message_old if version == OLD else _message_new
    return build(scene, receipts(event_type, scene), inbound=inbound)


def _message_new(scene: Scene, times: dict[str, Any], *, inbound: bool) -> dict[str, Any]:
    return {
        "chat": {**scene.chat, "health_status": scene.health},
        "id": scene.message_id,
        "direction": "inbound" if inbound else "outbound",
        "sender_handle": scene.handle(scene.customer if inbound else scene.line),
        "parts": [{"type": "text", "value": scene.text}],
        "effect": None,
        "reply_to": None,
        "idempotency_key": None,
        "preferred_service": None,
        **times,
        "service": scene.service,
    }


def _message_old(scene: Scene, times: dict[str, Any], *, inbound: bool) -> dict[str, Any]:
    sender = scene.customer if inbound else scene.line
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
            "is_delivered": times["delivered_at"] is not None,
            "is_read": times["read_at"] is not None,
            **times,
            "created_at": scene.at,
            "updated_at": scene.at,
        },
    }
    latest = next((name for name in ("read_at", "delivered_at") if times[name]), None)
    return data if latest is None else {**data, "message_id": scene.message_id, latest: times[latest]}


def _failed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "message_id": scene.message_id,
        "code": scene.code,
        "reason": FAILURES[scene.code],
        "detail_code": None,
        "service": scene.service,
        "preferred_service": None,
        "failed_at": scene.at,
    }


def _edited(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat": {**scene.chat, "health_status": scene.health},
        "id": scene.message_id,
        "direction": scene.direction,
        "sender_handle": scene.handle(scene.actor),
        "part": {"index": 0, "text": scene.text},
        "edited_at": scene.at,
    }


def reaction(_: str, scene: Scene, __: str) -> dict[str, Any]:
    """A tapback; the same one when it is removed as when it was added."""
    return {
        "chat_id": scene.chat_id,
        "message_id": scene.message_id,
        "part_index": 0,
        "reaction_id": scene.id_of(f"reaction by {scene.actor}"),
        "reaction_type": "like",
        "custom_emoji": None,
        "sticker": None,
        "is_from_me": scene.ours,
        "from": scene.actor,
        "from_handle": scene.handle(scene.actor),
        "service": scene.service,
        "reacted_at": scene.at,
    }


BUILDERS: dict[str, Builder] = {
    "message.sent": _message,
    "message.received": _message,
    "message.read": _message,
    "message.delivered": _message,
    "message.failed": _failed,
    "message.edited": _edited,
    "reaction.added": reaction,
    "reaction.removed": reaction,
}
