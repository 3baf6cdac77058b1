"""`data` of events about a line itself, and of calls, contact cards and places that are shared with it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene


def _line_status(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "phone_number": scene.line,
        "previous_status": "ACTIVE",
        "new_status": "FLAGGED",
        "previous_reputation": "AT_RISK",
        "new_reputation": "CRITICAL",
        "changed_at": scene.at,
    }


def _line_moved(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"phone_number": scene.line, "changed_at": scene.at}


def _contact_card(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "first_name": "Robin",
        "last_name": "Field",
        "owner_handle": scene.line,
        "sender_handle": scene.customer,
        "media_url": None,
    }


def _location(event_type: str, scene: Scene, __: str) -> dict[str, Any]:
    data = {
        "shared_by": scene.customer,
        "shared_with": scene.line,
        "chat_id": scene.chat_id,
        "began_at": scene.at,
    }
    return {**data, ("ends_at" if event_type == "location.sharing.started" else "ended_at"): scene.at}


def _call(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    """Linq lists these types and documents no payload; this one is modelled on its v2 call."""
    has_ended = event_type in {"call.ended", "call.failed", "call.declined", "call.no_answer"}
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"call {scene.message_id}")),
        "direction": "inbound",
        "from": scene.customer,
        "to": scene.line,
        "phone_number": scene.line,
        "started_at": scene.at,
        "ended_at": scene.at if has_ended else None,
    }


BUILDERS: dict[str, Builder] = {
    "phone_number.status_updated": _line_status,
    "phone_number.assigned": _line_moved,
    "phone_number.released": _line_moved,
    "contact_card.received": _contact_card,
    "location.sharing.started": _location,
    "location.sharing.stopped": _location,
    **dict.fromkeys(
        (
            "call.initiated",
            "call.ringing",
            "call.answered",
            "call.ended",
            "call.failed",
            "call.declined",
            "call.no_answer",
        ),
        _call,
    ),
}
