"""Payloads of lines outside chats: status, calls, shared contact cards and locations.

They are as defined by the SDK, except `call.*`, which can be subscribed to but has no published payload. Ours has the
minimum of a call, with the field names of v2.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.scenario import name_of
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from relay.sandbox.payloads.scenario import Builder, Scenario

LOCATION_SHARED_FOR = timedelta(hours=1)

_HEALTHY = ("ACTIVE", "HEALTHY")
_FLAGGED = ("FLAGGED", "CRITICAL")


def _status(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    before, after = (_HEALTHY, _FLAGGED) if scenario.flagged else (_FLAGGED, _HEALTHY)
    return {
        "phone_number": scenario.line,
        "previous_status": before[0],
        "new_status": after[0],
        "previous_reputation": before[1],
        "new_reputation": after[1],
        "changed_at": scenario.at,
    }


def _ownership(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {"phone_number": scenario.line, "changed_at": scenario.at}


def _contact_card(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    first_name, last_name = name_of(scenario.customer)
    return {
        "first_name": first_name,
        "last_name": last_name,
        "owner_handle": scenario.line,
        "sender_handle": scenario.customer,
        "media_url": None,
    }


def _location_started(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "shared_by": scenario.customer,
        "shared_with": scenario.line,
        "began_at": scenario.at,
        "ends_at": rfc3339(scenario.occurred_at + LOCATION_SHARED_FOR),
        "chat_id": scenario.chat_id,
    }


def _location_stopped(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "shared_by": scenario.customer,
        "shared_with": scenario.line,
        "began_at": rfc3339(scenario.occurred_at - LOCATION_SHARED_FOR),
        "ended_at": scenario.at,
        "chat_id": scenario.chat_id,
    }


def _call(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "id": scenario.message_id,
        "direction": scenario.direction,
        "from": scenario.actor,
        "to": scenario.other_side,
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
