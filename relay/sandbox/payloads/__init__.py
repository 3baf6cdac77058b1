"""Webhook payloads of v3: every event type that can be subscribed to, in both payload versions.

A `Scenario` has the line, customer, chat and message of an event; each family of event types has a module that builds
its `data` from a scenario.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from relay.sandbox.payloads import account, chats, lines, messages, payments, polls
from relay.sandbox.payloads.scenario import Scenario
from relay.sandbox.payloads.versions import NEW, OLD, exists_in
from relay.sandbox.state import rfc3339

__all__ = ["NEW", "OLD", "Scenario", "data_of", "envelope", "exists_in", "known_types"]

_BUILDERS = {
    **messages.BUILDERS,
    **polls.BUILDERS,
    **chats.BUILDERS,
    **lines.BUILDERS,
    **payments.BUILDERS,
    **account.BUILDERS,
}


def data_of(event_type: str, scenario: Scenario, version: str) -> dict[str, Any]:
    """Build the `data` of an event.

    Raises:
        KeyError: the sandbox has no payload for this type.
    """
    return _BUILDERS[event_type](event_type, scenario, version)


def known_types() -> tuple[str, ...]:
    """Return the event types that have a built-in payload."""
    return tuple(_BUILDERS)


def envelope(
    event_type: str, event_id: str, data: dict[str, Any], version: str, created_at: datetime, about: str | None = None
) -> bytes:
    """Build the body of a v3 webhook; events `about` the same message share a trace id."""
    nanoseconds = (
        f"{created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}{uuid.UUID(event_id).int % 1000:03d}Z"
        if _is_uuid(event_id)
        else None
    )
    return to_json(
        {
            "api_version": "v3",
            "webhook_version": version,
            "event_type": event_type,
            "event_id": event_id,
            "created_at": nanoseconds or rfc3339(created_at),
            "trace_id": uuid.uuid5(uuid.NAMESPACE_OID, about or event_id).hex,
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
