"""Webhook payloads as Linq's v2 API makes them (https://docs.linqapp.com/v2/api)."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from relay.sandbox.payloads import Scene

_TYPES = ("message.received", "message.sent", "message.read")


def v2_types() -> tuple[str, ...]:
    """The v2 event types that `v2_body` has payloads for."""
    return _TYPES


def v2_type_of(v3_type: str) -> str | None:
    """The v2 event type of what v3 calls `v3_type`; None if v2 has none."""
    return v3_type if v3_type in _TYPES else None


def v2_body(v2_type: str, scene: Scene, event_id: str, moment: datetime) -> bytes:
    """The body of a v2 webhook.

    Raises:
        KeyError: the sandbox has no payload for this type.
    """
    if v2_type not in _TYPES:
        raise KeyError(v2_type)
    data = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, scene.message_id).int % 10**8),
        "chat_id": str(uuid.uuid5(uuid.NAMESPACE_OID, scene.chat_id).int % 10**8),
        "body": scene.text,
        "chat_handles": [
            {"identifier": number, "is_me": number == scene.line} for number in (scene.line, scene.customer)
        ],
    }
    envelope = {
        "api_version": "v2",
        "created_at": moment.isoformat(timespec="seconds"),
        "data": data,
        "event_id": event_id,
        "event_type": v2_type,
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()
