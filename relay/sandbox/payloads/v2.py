"""Webhook payloads of v2 as Linq makes them: all 14 event types (https://docs.linqapp.com/v2/api).

The happenings are those of v3; what differs is how they are told. Keys are sorted at every level, times have an offset,
and ids are numbers, derived from the scene's own so that a chat keeps its id: as text for chats, messages, calls,
reactions and handles, as integers for contacts. Linq documents no payload for `participant.*`; theirs is the chat and
its handles, which every other event of a chat has.
"""

from __future__ import annotations

import json
import uuid
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.payloads.scene import name_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relay.sandbox.payloads.scene import Scene

    Builder = Callable[[str, Scene], dict[str, Any]]

_ZONE = timezone(timedelta(hours=-6))
"""The offset of the times in Linq's samples."""

_IDS = 10**9
_CALL_LASTED = timedelta(seconds=252)
_OWNER = {
    "id": 31,
    "email": "ops@example.org",
    "first_name": "Ivo",
    "last_name": "Brandt",
    "name": "Ivo Brandt",
}

_SAME_IN_V3 = {
    "message.sent": "message.sent",
    "message.received": "message.received",
    "message.read": "message.read",
    "call.ended": "call.completed",
    "reaction.added": "reaction.received",
    "chat.typing_indicator.started": "typing_indicator.received",
    "chat.typing_indicator.stopped": "typing_indicator.removed",
    "chat.created": "chat.created",
    "participant.added": "participant.added",
    "participant.removed": "participant.removed",
}


def v2_types() -> tuple[str, ...]:
    """The event types of v2."""
    return V2_TYPES


def v2_type_of(v3_type: str) -> str | None:
    """The v2 event type that tells of the same, if there is one; of a reaction, that of a customer's."""
    return _SAME_IN_V3.get(v3_type)


def v2_body(v2_type: str, scene: Scene, event_id: str, moment: datetime) -> bytes:
    """The body of a v2 webhook.

    Raises:
        KeyError: v2 has no such type.
    """
    body = {
        "api_version": "v2",
        "event_type": v2_type,
        "event_id": event_id,
        "created_at": _iso(moment),
        "data": _BUILDERS[v2_type](v2_type, scene),
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _iso(moment: datetime) -> str:
    return moment.astimezone(_ZONE).isoformat(timespec="seconds")


def _spaced(moment: datetime) -> str:
    return f"{moment.astimezone(_ZONE):%Y-%m-%d %H:%M:%S %z}"


def _number(of: str) -> int:
    return uuid.uuid5(uuid.NAMESPACE_OID, of).int % _IDS + 1


def _id(of: str) -> str:
    return str(_number(of))


def _handles(scene: Scene) -> list[dict[str, Any]]:
    return [
        {
            "identifier": one,
            "display_name": "Support line" if one == scene.line else " ".join(name_of(one)),
            "is_me": one == scene.line,
        }
        for one in (scene.customer, scene.line, *scene.others)
    ]


def _message(v2_type: str, scene: Scene) -> dict[str, Any]:
    return {
        "id": _id(scene.message_id),
        "chat_id": _id(scene.chat_id),
        "text": scene.text,
        "sent_at": _spaced(scene.moment),
        "is_read": False,
        "from_phone": scene.line if v2_type == "message.sent" else scene.customer,
        "service": scene.service,
        "reaction_id": None,
        "replied_to_chat_message_id": None,
        "chat_handles": _handles(scene),
        "attachments": [],
    }


def _read(_: str, scene: Scene) -> dict[str, Any]:
    return {"id": _id(scene.message_id), "chat_id": _id(scene.chat_id), "read_at": _iso(scene.moment)}


def _call(_: str, scene: Scene) -> dict[str, Any]:
    return {
        "id": _id(scene.message_id),
        "to": scene.other_side,
        "from": scene.actor,
        "status": "completed",
        "direction": scene.direction,
        "start_time": _spaced(scene.moment - _CALL_LASTED),
        "end_time": _spaced(scene.moment),
        "duration": _CALL_LASTED.seconds,
        "call_type": "normal",
        "forwarded_from": None,
        "answered_by": scene.other_side,
        "voicemail": False,
        "has_recording": False,
        "recording_data": None,
    }


def _reaction(v2_type: str, scene: Scene) -> dict[str, Any]:
    ours = v2_type == "reaction.sent"
    reactor = scene.line if ours else scene.customer
    return {
        "id": _id(f"reaction of {reactor} to {scene.message_id}"),
        "chat_message_id": _id(scene.message_id),
        "chat_id": _id(scene.chat_id),
        "reaction": "like",
        "is_from_me": ours,
        "sent_at": _spaced(scene.moment),
        "created_at": _spaced(scene.moment),
        "chat_handle": {"id": _id(reactor), "identifier": reactor},
        "chat_handles": _handles(scene),
        "associated_message": {
            "id": _id(scene.message_id),
            "text": scene.text,
            "sent_at": _spaced(scene.moment),
        },
    }


def _typing(v2_type: str, scene: Scene) -> dict[str, Any]:
    return {
        "chat_id": _id(scene.chat_id),
        "display": v2_type == "typing_indicator.received",
        "timestamp": _spaced(scene.moment),
        "chat_handles": _handles(scene),
    }


def _chat(_: str, scene: Scene) -> dict[str, Any]:
    return {
        "chat_id": _id(scene.chat_id),
        "service": scene.service,
        "is_direct": not scene.is_group,
        "is_group": scene.is_group,
        "display_name": " ".join(name_of(scene.customer)),
        "chat_handles": [
            {**handle, "id": _id(handle["identifier"]), "is_departed": False} for handle in _handles(scene)
        ],
        "created_at": _iso(scene.moment),
    }


def _contact(_: str, scene: Scene) -> dict[str, Any]:
    first_name, last_name = name_of(scene.customer)
    return {
        "id": _number(scene.customer),
        "first_name": first_name,
        "last_name": last_name,
        "full_name": f"{first_name} {last_name}",
        "email": f"{first_name.lower()}@example.net",
        "phone_number": scene.customer,
        "company": None,
        "title": None,
        "location": None,
        "image_url": None,
        "created_at": _iso(scene.moment),
        "updated_at": _iso(scene.moment),
        "contact_owner": _OWNER,
    }


def _contact_deleted(_: str, scene: Scene) -> dict[str, Any]:
    return {"id": _number(scene.customer)}


def _participant(_: str, scene: Scene) -> dict[str, Any]:
    return {"chat_id": _id(scene.chat_id), "chat_handles": _handles(scene)}


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
    "contact.deleted": _contact_deleted,
    "participant.added": _participant,
    "participant.removed": _participant,
}
