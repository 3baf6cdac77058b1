"""Webhook payloads as Linq makes them, for every event type of v3.

Each event type has one builder that gives `data` for a payload version; shapes follow the SDK's types (2026-02-03) and
Linq's older documents (2025-01-01).
"""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from relay.sandbox.payloads import account, chats, lines, messages, polls
from relay.sandbox.payloads.scene import NEW, OLD, Scene
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sandbox.payloads.scene import Builder

__all__ = ["NEW", "OLD", "Scene", "data_of", "envelope", "exists_in", "known_types"]

_BUILDERS: dict[str, Builder] = {
    **messages.BUILDERS,
    **chats.BUILDERS,
    **polls.BUILDERS,
    **lines.BUILDERS,
    **account.BUILDERS,
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
