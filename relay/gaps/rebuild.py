"""An event from a message at Linq: `message.received` or `message.sent` in payload version 2026-02-03.

The event is made by the relay, so that nothing of it is signed by Linq. Its id derives from the message's, so that a
message makes the same event whenever it is put back. `reconciled_at` is set, by Linq or to the time of the backfill:
the event is history, as one that Linq recovered itself. What REST does not tell is null: `idempotency_key`, and, as in
Linq's own events of these types, the times of delivery and reading.
"""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from relay.store.gaps.backfilled import MissingMessage

VERSION = "2026-02-03"
PARTNER = "unknown"
"""`partner_id` of a backfilled event: REST does not tell it."""

_NAMESPACE = uuid.UUID("6f3f7f0e-6d0f-5c0e-9b6a-2f6a8f9f5f10")
_SENT = frozenset({"sent", "delivered", "read"})
_ONLY_REST = ("reactions",)
"""Fields of a part that events do not have."""
_HEALTHY = "https://docs.linqapp.com/guides/chats/chat-health#healthy"


def event_type_of(message: dict[str, Any]) -> str | None:
    """Return the type of the event that Linq sends of a message; None for one that was never sent."""
    if message.get("is_from_me") is False:
        return "message.received"
    status = message.get("delivery_status")
    status = status if isinstance(status, str) else None
    is_sent = status in _SENT or (status not in {"pending", "queued", "failed"} and message.get("sent_at"))
    return "message.sent" if message.get("is_from_me") is True and is_sent else None


def time_ms_of(message: dict[str, Any]) -> int | None:
    """Return the time of a message in Unix milliseconds; None if Linq tells none."""
    for name in ("created_at", "sent_at", "updated_at"):
        if isinstance(text := message.get(name), str):
            with suppress(ValueError, OverflowError):
                return round(datetime.fromisoformat(text).timestamp() * 1000)
    return None


def rebuilt(chat: dict[str, Any], message: dict[str, Any], line: str, event_type: str, now: datetime) -> MissingMessage:
    """Return the event of a message of `chat` on `line`."""
    event_id = str(uuid.uuid5(_NAMESPACE, f"{event_type} {line} {message['id']}"))
    body = {
        "api_version": "v3",
        "webhook_version": VERSION,
        "event_type": event_type,
        "event_id": event_id,
        "created_at": _rfc3339(now),
        "trace_id": uuid.UUID(event_id).hex,
        "partner_id": PARTNER,
        "data": _data(chat, message, line, event_type, now),
    }
    return MissingMessage(event_id, event_type, line, message["id"], _json(body))


def _data(chat: dict[str, Any], message: dict[str, Any], line: str, event_type: str, now: datetime) -> dict[str, Any]:
    service = message.get("service") or chat.get("service") or "iMessage"
    handles = objects_in(chat.get("handles"))
    owner = next((each for each in handles if each.get("handle") == line), None) or _handle(line, chat, service)
    parts = objects_in(message.get("parts"))
    return {
        "chat": {
            "id": chat["id"],
            "is_group": chat.get("is_group") is True,
            "owner_handle": {**owner, "is_me": True},
            "health_status": chat.get("health_status")
            or {"status": "HEALTHY", "doc_url": _HEALTHY, "updated_at": _rfc3339(now)},
        },
        "id": message["id"],
        "direction": "inbound" if event_type == "message.received" else "outbound",
        "sender_handle": _sender(message, handles, chat, line, service),
        "parts": [{name: value for name, value in part.items() if name not in _ONLY_REST} for part in parts],
        "effect": message.get("effect"),
        "reply_to": message.get("reply_to"),
        "idempotency_key": None,
        "preferred_service": message.get("preferred_service"),
        "sent_at": message.get("sent_at") or message.get("created_at"),
        "delivered_at": None,
        "read_at": None,
        "service": service,
        "reconciled_at": message.get("reconciled_at") or _rfc3339(now),
    }


def _sender(
    message: dict[str, Any], handles: list[dict[str, Any]], chat: dict[str, Any], line: str, service: str
) -> dict[str, Any]:
    """Return the handle of the sender: as the message has it, else as the chat does."""
    given = message.get("from_handle")
    if isinstance(given, dict) and given.get("handle"):
        return given
    ours = message.get("is_from_me") is True
    address = message.get("from") or (line if ours else None)
    others = [handle for handle in handles if not handle.get("is_me") and handle.get("handle") != line]
    if address is None and len(others) == 1:
        return others[0]
    known = next((each for each in handles if each.get("handle") == address), None)
    return known or {**_handle(str(address or ""), chat, service), "is_me": ours}


def _handle(address: str, chat: dict[str, Any], service: str) -> dict[str, Any]:
    handle_id = str(uuid.uuid5(_NAMESPACE, f"handle {address}"))
    return {"id": handle_id, "handle": address, "service": service, "joined_at": chat.get("created_at")}


def objects_in(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; none of what is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _json(body: dict[str, Any]) -> bytes:
    try:
        return to_json(body)
    except ValueError:  # half a surrogate pair, as in a text that was cut within an emoji
        return json.dumps(body, separators=(",", ":")).encode()


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
