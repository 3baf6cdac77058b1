"""The `data` of message.sent, message.received, message.delivered and message.read.

    2026-02-03                          2025-01-01
    chat.id                             chat_id
    chat.is_group                       is_group
    chat.owner_handle                   recipient_handle (inbound); outbound it is the sender
    chat.owner_handle.handle            recipient_phone (inbound, deprecated)
    chat.health_status                  none
    sender_handle                       from_handle
    sender_handle.handle                from (deprecated)
    direction                           is_from_me
    id                                  message.id; message_id too in message.delivered and message.read
    parts, effect, reply_to, sent_at,   message.*; delivered_at in message.delivered and read_at in message.read too
    delivered_at, read_at, reconciled_at
    delivered_at, read_at               message.is_delivered, message.is_read: whether they have a value
    sent_at                             received_at (inbound): the same time in Linq's samples
    none                                message.created_at, message.updated_at: optional, and left out
    service, preferred_service, idempotency_key and what no document describes: the same

Sources: 2026-02-03 is `MessageEventV2` of Linq's SDK, whose text lists the differences; 2025-01-01 is Linq's page of
events (https://docs.linqapp.com/guides/webhooks/events) and `MessagePayload` of its SDK for TypeScript (`message`).
"""

from __future__ import annotations

from relay.linq.payloads.translation.chats import assumed_health
from relay.linq.payloads.translation.json_objects import (
    Json,
    Untranslatable,
    copied,
    others,
    required,
    required_object,
)

_SAME = ("service", "preferred_service", "idempotency_key")
_TIMES = ("sent_at", "delivered_at", "read_at")
_CONTENT = ("parts", "effect", "reply_to", *_TIMES, "reconciled_at")
_WITHOUT_NULL = ("effect", "reply_to", "reconciled_at")  # they have no null in 2025-01-01
_LATEST = {"message.delivered": "delivered_at", "message.read": "read_at"}

_KNOWN_2026 = frozenset({"chat", "id", "direction", "sender_handle", *_CONTENT, *_SAME})
_KNOWN_2025 = frozenset(
    {
        *("chat_id", "from", "from_handle", "recipient_phone", "recipient_handle", "is_from_me", "is_group"),
        *("received_at", "message", "message_id", "delivered_at", "read_at", "reconciled_at", *_SAME),
    }
)


def to_2025(data: Json, envelope: Json) -> Json:
    """Return the `data` of a message of 2026-02-03 in the older version.

    Raises:
        Untranslatable: something that it requires is not there.
    """
    chat, sender = required_object(data, "chat"), required_object(data, "sender_handle")
    is_from_me = _is_outbound(required(data, "direction"))
    line = None if is_from_me else chat.get("owner_handle")
    message_id = required(data, "id")
    old = {
        **others(data, _KNOWN_2026),
        "chat_id": required(chat, "id"),
        "from": required(sender, "handle"),
        "from_handle": sender,
        "recipient_phone": line.get("handle") if isinstance(line, dict) else None,
        "recipient_handle": line,
        "is_from_me": is_from_me,
        **copied(chat, ("is_group",)),
        **copied(data, _SAME),
        "received_at": None if is_from_me else data.get("sent_at"),
        "message": {
            "id": message_id,
            "parts": required(data, "parts"),
            **copied(data, _WITHOUT_NULL, with_nulls=False),
            "is_delivered": data.get("delivered_at") is not None,
            "is_read": data.get("read_at") is not None,
            **copied(data, _TIMES),
        },
    }
    if (latest := _LATEST.get(envelope["event_type"])) is not None:
        old |= {"message_id": message_id, latest: data.get(latest)}
    return old


def to_2026(data: Json, envelope: Json) -> Json:
    """Return the `data` of a message of 2025-01-01 in the newer version.

    Raises:
        Untranslatable: something that it requires is not there, such as the sender as a handle object.
    """
    message, sender = required_object(data, "message"), required_object(data, "from_handle")
    is_from_me = required(data, "is_from_me")
    if not isinstance(is_from_me, bool):
        raise Untranslatable("is_from_me is neither true nor false")
    line = sender if is_from_me else data.get("recipient_handle")
    return {
        **others(data, _KNOWN_2025),
        "chat": {
            "id": required(data, "chat_id"),
            **copied(data, ("is_group",)),
            "owner_handle": line,
            "health_status": assumed_health(envelope),
        },
        "id": required(message, "id"),
        "direction": "outbound" if is_from_me else "inbound",
        "sender_handle": sender,
        **copied(data, ("reconciled_at",), with_nulls=False),
        **copied(message, _CONTENT),
        **copied(data, _SAME),
        "parts": required(message, "parts"),
        "service": data.get("service") or required(sender, "service"),
    }


def _is_outbound(direction: object) -> bool:
    """Return True for what the line sent.

    Raises:
        Untranslatable: it is no direction that is known.
    """
    if direction not in {"outbound", "inbound"}:
        raise Untranslatable(f"the direction {direction!r} is not known")
    return direction == "outbound"
