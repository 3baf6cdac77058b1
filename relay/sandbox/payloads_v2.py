"""Webhook payloads as Linq's v2 API makes them (https://docs.linqapp.com/v2/api), for all of its event types.

Its ids are numbers, in strings for most things and as they are for contacts; times in `data` have a blank before their
offset. Linq documents no payload of `participant.*`; those here have what every event of a chat has.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from relay.linq.event_types import V2_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relay.sandbox.payloads import Scene

    Builder = Callable[[str, Scene, datetime], dict[str, Any]]

_TYPE_OF_V3 = {
    **{same: same for same in ("message.sent", "message.received", "message.read", "chat.created")},
    **{same: same for same in ("participant.added", "participant.removed")},
    "reaction.added": "reaction.received",
    "chat.typing_indicator.started": "typing_indicator.received",
    "chat.typing_indicator.stopped": "typing_indicator.removed",
    "call.ended": "call.completed",
}
_LINE_NAME, _CUSTOMER_NAME = "Support line", "Mara Osei"


def v2_types() -> tuple[str, ...]:
    """The v2 event types."""
    return V2_TYPES


def v2_type_of(v3_type: str) -> str | None:
    """The v2 event type of what v3 calls `v3_type`; None if v2 has none."""
    return _TYPE_OF_V3.get(v3_type)


def v2_body(v2_type: str, scene: Scene, event_id: str, moment: datetime) -> bytes:
    """The body of a v2 webhook.

    Raises:
        KeyError: v2 has no such type.
    """
    envelope = {
        "api_version": "v2",
        "created_at": moment.isoformat(timespec="seconds"),
        "data": _BUILDERS[v2_type](v2_type, scene, moment),
        "event_id": event_id,
        "event_type": v2_type,
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def _message(v2_type: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    return {
        "id": _number(scene.message_id),
        "chat_id": _number(scene.chat_id),
        "text": scene.text,
        "sent_at": _time(moment),
        "is_read": False,
        "from_phone": scene.customer if v2_type == "message.received" else scene.line,
        "service": scene.service,
        "reaction_id": None,
        "replied_to_chat_message_id": None,
        "chat_handles": _handles(scene),
        "attachments": [],
    }


def _read(_: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    return {
        "id": _number(scene.message_id),
        "chat_id": _number(scene.chat_id),
        "read_at": moment.isoformat(timespec="seconds"),
    }


def _reaction(v2_type: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    is_from_me = v2_type == "reaction.sent"
    actor = scene.line if is_from_me else scene.customer
    return {
        "id": _number(f"reaction {scene.message_id}"),
        "chat_message_id": _number(scene.message_id),
        "chat_id": _number(scene.chat_id),
        "reaction": "like",
        "is_from_me": is_from_me,
        "sent_at": _time(moment),
        "created_at": _time(moment),
        "chat_handle": {"id": _number(actor), "identifier": actor},
        "chat_handles": _handles(scene),
        "associated_message": {"id": _number(scene.message_id), "text": scene.text, "sent_at": _time(moment)},
    }


def _typing(v2_type: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    return {
        "chat_id": _number(scene.chat_id),
        "display": v2_type == "typing_indicator.received",
        "timestamp": _time(moment),
        "chat_handles": _handles(scene),
    }


def _call(_: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    return {
        "id": _number(f"call {scene.message_id}"),
        "to": scene.line,
        "from": scene.customer,
        "status": "completed",
        "direction": "inbound",
        "start_time": _time(moment),
        "end_time": _time(moment),
        "duration": 0,
        "call_type": "normal",
        "forwarded_from": None,
        "answered_by": scene.line,
        "voicemail": False,
        "has_recording": False,
        "recording_data": None,
    }


def _chat(_: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    handles = [{"id": _number(one["identifier"]), **one, "is_departed": False} for one in _handles(scene)]
    return {
        "chat_id": _number(scene.chat_id),
        "service": scene.service,
        "is_direct": not scene.is_group,
        "is_group": scene.is_group,
        "display_name": _CUSTOMER_NAME,
        "chat_handles": handles,
        "created_at": moment.isoformat(timespec="seconds"),
    }


def _participant(_: str, scene: Scene, __: datetime) -> dict[str, Any]:
    return {"chat_id": _number(scene.chat_id), "chat_handles": _handles(scene)}


def _contact(v2_type: str, scene: Scene, moment: datetime) -> dict[str, Any]:
    contact = {"id": int(_number(scene.customer))}
    if v2_type == "contact.deleted":
        return contact
    first, last = _CUSTOMER_NAME.split()
    return {
        **contact,
        "first_name": first,
        "last_name": last,
        "full_name": _CUSTOMER_NAME,
        "email": "mara@example.net",
        "phone_number": scene.customer,
        "company": None,
        "title": None,
        "location": None,
        "image_url": None,
        "created_at": moment.isoformat(timespec="seconds"),
        "updated_at": moment.isoformat(timespec="seconds"),
        "contact_owner": {
            "id": 31,
            "email": "ops@example.org",
            "first_name": "Ivo",
            "last_name": "Brandt",
            "name": "Ivo Brandt",
        },
    }


_BUILDERS: dict[str, Builder] = {
    "message.sent": _message,
    "message.received": _message,
    "message.read": _read,
    "call.completed": _call,
    "reaction.sent": _reaction,
    "reaction.received": _reaction,
    "typing_indicator.received": _typing,
    "typing_indicator.removed": _typing,
    "chat.created": _chat,
    "contact.created": _contact,
    "contact.updated": _contact,
    "contact.deleted": _contact,
    "participant.added": _participant,
    "participant.removed": _participant,
}


def _handles(scene: Scene) -> list[dict[str, Any]]:
    return [
        {"identifier": scene.customer, "display_name": _CUSTOMER_NAME, "is_me": False},
        {"identifier": scene.line, "display_name": _LINE_NAME, "is_me": True},
    ]


def _number(of: str) -> str:
    """The number that v2 has for what v3 gives another kind of id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, of).int % 10**8)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %z}"
