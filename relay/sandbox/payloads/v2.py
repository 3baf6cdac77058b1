"""Webhook payloads of v2: all 14 event types (https://docs.linqapp.com/v2/api).

They are built from the same scenarios as those of v3, in another format. Keys are sorted at every level, times have an
offset, and ids are numbers, derived from those of the scenario so that a chat keeps its id: strings for chats,
messages, calls, reactions and handles, integers for contacts. Linq documents no payload for `participant.*`; ours has
the chat id and the handles, as every other event of a chat.
"""

from __future__ import annotations

import json
import uuid
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.payloads.scenario import name_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relay.sandbox.payloads.scenario import Scenario

    Builder = Callable[[str, Scenario], dict[str, Any]]

_ZONE = timezone(timedelta(hours=-6))
"""Offset of the times in Linq's samples."""

_IDS = 10**9
_CALL_LASTED = timedelta(seconds=252)
_OWNER = {
    "id": 31,
    "email": "ops@example.org",
    "first_name": "Ivo",
    "last_name": "Brandt",
    "name": "Ivo Brandt",
}

_V2_TYPE_BY_V3_TYPE = {
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
    """Return the event types of v2."""
    return V2_TYPES


def v2_type_of(v3_type: str) -> str | None:
    """Return the v2 type of a v3 event, None if v2 has none; for a reaction, the type of a customer's reaction."""
    return _V2_TYPE_BY_V3_TYPE.get(v3_type)


def v2_body(v2_type: str, scenario: Scenario, event_id: str, created_at: datetime) -> bytes:
    """Build the body of a v2 webhook.

    Raises:
        KeyError: v2 has no such type.
    """
    body = {
        "api_version": "v2",
        "event_type": v2_type,
        "event_id": event_id,
        "created_at": _iso(created_at),
        "data": _BUILDERS[v2_type](v2_type, scenario),
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _iso(time: datetime) -> str:
    return time.astimezone(_ZONE).isoformat(timespec="seconds")


def _spaced(time: datetime) -> str:
    return f"{time.astimezone(_ZONE):%Y-%m-%d %H:%M:%S %z}"


def _number(name: str) -> int:
    return uuid.uuid5(uuid.NAMESPACE_OID, name).int % _IDS + 1


def _id(name: str) -> str:
    return str(_number(name))


def _handles(scenario: Scenario) -> list[dict[str, Any]]:
    return [
        {
            "identifier": handle,
            "display_name": "Support line" if handle == scenario.line else " ".join(name_of(handle)),
            "is_me": handle == scenario.line,
        }
        for handle in (scenario.customer, scenario.line, *scenario.others)
    ]


def _message(v2_type: str, scenario: Scenario) -> dict[str, Any]:
    return {
        "id": _id(scenario.message_id),
        "chat_id": _id(scenario.chat_id),
        "text": scenario.text,
        "sent_at": _spaced(scenario.occurred_at),
        "is_read": False,
        "from_phone": scenario.line if v2_type == "message.sent" else scenario.customer,
        "service": scenario.service,
        "reaction_id": None,
        "replied_to_chat_message_id": None,
        "chat_handles": _handles(scenario),
        "attachments": [],
    }


def _read(_: str, scenario: Scenario) -> dict[str, Any]:
    return {"id": _id(scenario.message_id), "chat_id": _id(scenario.chat_id), "read_at": _iso(scenario.occurred_at)}


def _call(_: str, scenario: Scenario) -> dict[str, Any]:
    return {
        "id": _id(scenario.message_id),
        "to": scenario.other_side,
        "from": scenario.actor,
        "status": "completed",
        "direction": scenario.direction,
        "start_time": _spaced(scenario.occurred_at - _CALL_LASTED),
        "end_time": _spaced(scenario.occurred_at),
        "duration": _CALL_LASTED.seconds,
        "call_type": "normal",
        "forwarded_from": None,
        "answered_by": scenario.other_side,
        "voicemail": False,
        "has_recording": False,
        "recording_data": None,
    }


def _reaction(v2_type: str, scenario: Scenario) -> dict[str, Any]:
    ours = v2_type == "reaction.sent"
    reactor = scenario.line if ours else scenario.customer
    return {
        "id": _id(f"reaction of {reactor} to {scenario.message_id}"),
        "chat_message_id": _id(scenario.message_id),
        "chat_id": _id(scenario.chat_id),
        "reaction": "like",
        "is_from_me": ours,
        "sent_at": _spaced(scenario.occurred_at),
        "created_at": _spaced(scenario.occurred_at),
        "chat_handle": {"id": _id(reactor), "identifier": reactor},
        "chat_handles": _handles(scenario),
        "associated_message": {
            "id": _id(scenario.message_id),
            "text": scenario.text,
            "sent_at": _spaced(scenario.occurred_at),
        },
    }


def _typing(v2_type: str, scenario: Scenario) -> dict[str, Any]:
    return {
        "chat_id": _id(scenario.chat_id),
        "display": v2_type == "typing_indicator.received",
        "timestamp": _spaced(scenario.occurred_at),
        "chat_handles": _handles(scenario),
    }


def _chat(_: str, scenario: Scenario) -> dict[str, Any]:
    return {
        "chat_id": _id(scenario.chat_id),
        "service": scenario.service,
        "is_direct": not scenario.is_group,
        "is_group": scenario.is_group,
        "display_name": " ".join(name_of(scenario.customer)),
        "chat_handles": [
            {**handle, "id": _id(handle["identifier"]), "is_departed": False} for handle in _handles(scenario)
        ],
        "created_at": _iso(scenario.occurred_at),
    }


def _contact(_: str, scenario: Scenario) -> dict[str, Any]:
    first_name, last_name = name_of(scenario.customer)
    return {
        "id": _number(scenario.customer),
        "first_name": first_name,
        "last_name": last_name,
        "full_name": f"{first_name} {last_name}",
        "email": f"{first_name.lower()}@example.net",
        "phone_number": scenario.customer,
        "company": None,
        "title": None,
        "location": None,
        "image_url": None,
        "created_at": _iso(scenario.occurred_at),
        "updated_at": _iso(scenario.occurred_at),
        "contact_owner": _OWNER,
    }


def _contact_deleted(_: str, scenario: Scenario) -> dict[str, Any]:
    return {"id": _number(scenario.customer)}


def _participant(_: str, scenario: Scenario) -> dict[str, Any]:
    return {"chat_id": _id(scenario.chat_id), "chat_handles": _handles(scenario)}


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
