"""Webhook payloads as Linq makes them, for the events of a conversation.

Each event type has one builder that gives `data` for a payload version; shapes follow the SDK's types (2026-02-03) and
Linq's older documents (2025-01-01).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

NEW = "2026-02-03"
OLD = "2025-01-01"
_JOINED = "2026-01-05T09:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Scene:
    """What an event is about: who talks with which line, where, and what is said."""

    line: str
    customer: str = "+13035550188"
    chat_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    text: str = "Is the 3pm slot free?"
    service: str = "iMessage"
    is_group: bool = False
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def next_message(self, text: str, message_id: str) -> Scene:
        """The same chat, another message."""
        return replace(self, text=text, message_id=message_id)

    @property
    def at(self) -> str:
        """The moment, as Linq writes it."""
        return rfc3339(self.moment)

    def handle(self, number: str) -> dict[str, Any]:
        """A chat handle, ours or the customer's."""
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, number)),
            "handle": number,
            "is_me": number == self.line,
            "service": self.service,
            "status": "active",
            "joined_at": _JOINED,
            "left_at": None,
        }

    @property
    def chat(self) -> dict[str, Any]:
        """The chat object of 2026-02-03."""
        health = {
            "status": "HEALTHY",
            "doc_url": "https://docs.linqapp.com/guides/chats/chat-health#healthy",
            "updated_at": self.at,
        }
        return {
            "id": self.chat_id,
            "is_group": self.is_group,
            "owner_handle": self.handle(self.line),
            "health_status": health,
        }


def data_of(event_type: str, scene: Scene, version: str) -> dict[str, Any]:
    """The `data` of an event.

    Raises:
        KeyError: the sandbox has no payload for this type.
    """
    return _BUILDERS[event_type](event_type, scene, version)


def exists_in(event_type: str, version: str) -> bool:
    """Whether Linq delivers events of this type in this payload version."""
    return not (event_type == "message.edited" and version == OLD)


def known_types() -> tuple[str, ...]:
    """The event types that `data_of` has payloads for."""
    return tuple(_BUILDERS)


def envelope(event_type: str, event_id: str, data: dict[str, Any], version: str, moment: datetime) -> bytes:
    """The body of a v3 webhook."""
    nanoseconds = (
        f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}{uuid.UUID(event_id).int % 1000:03d}Z"
        if _is_uuid(event_id)
        else None
    )
    return to_json(
        {
            "api_version": "v3",
            "webhook_version": version,
            "event_type": event_type,
            "event_id": event_id,
            "created_at": nanoseconds or rfc3339(moment),
            "trace_id": uuid.uuid5(uuid.NAMESPACE_OID, event_id).hex,
            "partner_id": "prt_sandbox",
            "data": data,
        }
    )


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


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


def _reaction(_: str, scene: Scene, __: str) -> dict[str, Any]:
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


def _typing(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"chat_id": scene.chat_id, "actor_handle": scene.handle(scene.customer)}


def _chat_created(_: str, scene: Scene, version: str) -> dict[str, Any]:
    data = {
        "id": scene.chat_id,
        "display_name": f"{scene.line}, {scene.customer}",
        "service": scene.service,
        "is_group": scene.is_group,
        "handles": [scene.handle(scene.line), scene.handle(scene.customer)],
        "created_at": scene.at,
        "updated_at": scene.at,
    }
    return data if version == OLD else {**data, "health_status": scene.chat["health_status"]}


def _participant(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    when = "added_at" if event_type == "participant.added" else "removed_at"
    return {
        "chat_id": scene.chat_id,
        "handle": scene.customer,
        "participant": scene.handle(scene.customer),
        when: scene.at,
    }


def _group_name(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "old_value": None,
        "new_value": scene.text,
        "changed_by_handle": scene.handle(scene.customer),
        "updated_at": scene.at,
    }


def _line_status(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "phone_number": scene.line,
        "previous_status": "ACTIVE",
        "new_status": "FLAGGED",
        "previous_reputation": "AT_RISK",
        "new_reputation": "CRITICAL",
        "changed_at": scene.at,
    }


_BUILDERS: dict[str, Callable[[str, Scene, str], dict[str, Any]]] = {
    "message.received": _message,
    "message.sent": _message,
    "message.delivered": _message,
    "message.read": _message,
    "message.failed": _message_failed,
    "message.edited": _message_edited,
    "reaction.added": _reaction,
    "reaction.removed": _reaction,
    "chat.typing_indicator.started": _typing,
    "chat.typing_indicator.stopped": _typing,
    "chat.created": _chat_created,
    "participant.added": _participant,
    "participant.removed": _participant,
    "chat.group_name_updated": _group_name,
    "phone_number.status_updated": _line_status,
}
