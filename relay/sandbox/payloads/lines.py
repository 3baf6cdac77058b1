"""What happens on a line outside its chats: its status, calls, shared contact cards and locations.

As the SDK has it, but for `call.*`: those can be subscribed to, and Linq publishes no payload of them. Theirs is the
least that a call has, in the names that v2 gives it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.scene import name_of
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

LOCATION_SHARED_FOR = timedelta(hours=1)

_HEALTHY = ("ACTIVE", "HEALTHY")
_FLAGGED = ("FLAGGED", "CRITICAL")


def _status(_: str, scene: Scene, __: str) -> dict[str, Any]:
    before, after = (_HEALTHY, _FLAGGED) if scene.flagged else (_FLAGGED, _HEALTHY)
    return {
        "phone_number": scene.line,
        "previous_status": before[0],
        "new_status": after[0],
        "previous_reputation": before[1],
        "new_reputation": after[1],
        "changed_at": scene.at,
    }


def _ownership(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"phone_number": scene.line, "changed_at": scene.at}


def _contact_card(_: str, scene: Scene, __: str) -> dict[str, Any]:
    first_name, last_name = name_of(scene.customer)
    return {
        "first_name": first_name,
        "last_name": last_name,
        "owner_handle": scene.line,
        "sender_handle": scene.customer,
        "media_url": None,
    }


def _location_started(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "shared_by": scene.customer,
        "shared_with": scene.line,
        "began_at": scene.at,
        "ends_at": rfc3339(scene.moment + LOCATION_SHARED_FOR),
        "chat_id": scene.chat_id,
    }


def _location_stopped(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "shared_by": scene.customer,
        "shared_with": scene.line,
        "began_at": rfc3339(scene.moment - LOCATION_SHARED_FOR),
        "ended_at": scene.at,
        "chat_id": scene.chat_id,
    }


def _call(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "id": scene.message_id,
        "direction": scene.direction,
        "from": scene.actor,
        "to": scene.other_side,
    }


BUILDERS: dict[str, Builder] = {
    "phone_number.status_updated": _status,
    "phone_number.assigned": _ownership,
    "phone_number.released": _ownership,
    "contact_card.received": _contact_card,
    "call.initiated": _call,
    "call.ringing": _call,
    "call.answered": _call,
    "call.ended": _call,
    "call.failed": _call,
    "call.declined": _call,
    "call.no_answer": _call,
    "location.sharing.started": _location_started,
    "location.sharing.stopped": _location_stopped,
}
