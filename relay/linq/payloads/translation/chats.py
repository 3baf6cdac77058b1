"""The health of a chat, which only 2026-02-03 has: in `chat.created` and in the `chat` of a message.

2026-02-03 requires it and the older version does not tell it, so a translated body has the status in which chats start.
Linq tells senders to act on its responses rather than on the status: it refuses messages to a chat that opted out.
"""

from __future__ import annotations

from relay.linq.payloads.translation.json_objects import Json, others, required

_HEALTH = "health_status"


def assumed_health(envelope: Json) -> Json:
    """Return the health that chats start with (https://docs.linqapp.com/guides/chats/chat-health), as of the event."""
    return {
        "status": "HEALTHY",
        "doc_url": "https://docs.linqapp.com/guides/chats/chat-health#healthy",
        "updated_at": required(envelope, "created_at"),
    }


def created_to_2025(data: Json, _: Json) -> Json:
    """Return the `data` of a chat.created of 2026-02-03 in the older version."""
    return others(data, frozenset({_HEALTH}))


def created_to_2026(data: Json, envelope: Json) -> Json:
    """Return the `data` of a chat.created of 2025-01-01 in the newer version."""
    return {**data, _HEALTH: data.get(_HEALTH) or assumed_health(envelope)}
