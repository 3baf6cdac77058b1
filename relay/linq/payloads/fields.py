"""Extraction of line, chat, message, direction, service and group from payloads; one lookup table per API version.

Linq puts the line's own number in a different field for nearly every event type, and next to it the customer's. The
tables below follow, row by row, the shapes in Linq's SDK types and documentation (v3:
https://docs.linqapp.com/guides/webhooks/events, v2: https://docs.linqapp.com/v2/api), and never guess from a field that
can hold the other side:

* a handle object is the line only if it has `is_me: true`, or if it is in a field that Linq documents as the line
  (`owner_handle`, `recipient_handle` of an inbound message) and does not have `is_me: false`;
* `phone_number` is the line in v3 line and account events and a customer in v2 `contact.*`;
* an e-mail address is never a line, although a line can appear under one.

An event type that is not listed gets the rules that are safe for any (`owner_handle`, handles with `is_me`), so new
types flow. Pure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from relay.core.event import Dialect, PayloadFields
from relay.core.json_text import storable
from relay.core.lines import is_line
from relay.core.patterns import patterns_that_match

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    LineFinder = Callable[[dict[str, Any]], str | None]

_CACHED_TYPES = 1024  # event types whose table row is cached; Linq has 75

_OUTBOUND = {"outbound": True, "inbound": False}
_V3_DIRECTION = {"message.failed": "outbound", "contact_card.received": "inbound"}
_V2_DIRECTION = {"message.received": "inbound", "message.sent": "outbound"}
_OWN_HANDLES = ("sender_handle", "from_handle", "recipient_handle", "participant", "changed_by_handle", "actor_handle")


def payload_fields(dialect: Dialect, event_type: str, data: dict[str, Any]) -> PayloadFields:
    """Extract the fields from the `data` of an event of this type."""
    if dialect is Dialect.V2:
        return _v2_fields(event_type, data)
    return _v3_fields(event_type, data)


# --- v3 (https://docs.linqapp.com/guides/webhooks/events) -------------------------------------------


def _v3_fields(event_type: str, data: dict[str, Any]) -> PayloadFields:
    chat, message = _object(data.get("chat")), _object(data.get("message"))
    return PayloadFields(  # by position: names take 0.5 us more
        _v3_line_finder(event_type)(data),
        _text(chat.get("id")) or _text(data.get("id" if event_type == "chat.created" else "chat_id")),
        _v3_message(event_type, data, message),
        _direction(data) or _V3_DIRECTION.get(event_type),
        _v3_service(data, chat),
        _bool(chat.get("is_group"), data.get("is_group")),
        _text(data.get("reconciled_at") or message.get("reconciled_at")),
    )


def _line_of_any(data: dict[str, Any]) -> str | None:
    """Find the line in fields that are safe for every v3 type: the chat's owner, and handles with `is_me`."""
    return (
        _handle(_object(data.get("chat")).get("owner_handle"))
        or _handle(data.get("owner_handle"))
        or _line_of_own_handles(data)
    )


def _line_of_own_handles(data: dict[str, Any]) -> str | None:
    for name in _OWN_HANDLES:
        if name in data and (line := _own_handle(data[name])):
            return line
    if "handles" in data:
        for handle in _list(data["handles"]):
            if line := _own_handle(handle):
                return line
    return None


def _line_of_message(data: dict[str, Any]) -> str | None:
    """Find the line of `message.*` and `poll.*`.

    It is the chat's owner (2026-02-03), else the sender or the recipient, by direction (2025-01-01).
    """
    if line := _line_of_any(data):
        return line
    outbound = _outbound(data)
    if outbound is True:
        return _handle(data.get("sender_handle")) or _handle_or_text(data, "from_handle", "from")
    if outbound is False:
        return _handle_or_text(data, "recipient_handle", "recipient_phone")
    return None


def _line_of_poll_update(data: dict[str, Any]) -> str | None:
    """Find the line of `poll.updated`, whose `sender_handle` is documented as the line."""
    return _line_of_message(data) or _handle(data.get("sender_handle"))


def _line_of_reaction(data: dict[str, Any]) -> str | None:
    """Find the line of a reaction: only our own have it; a customer's has the customer's number in the same fields."""
    line = _line_of_any(data)
    if line is None and data.get("is_from_me") is True:
        return _handle_or_text(data, "from_handle", "from")
    return line


def _line_of_number(data: dict[str, Any]) -> str | None:
    """Find the line of line and account events: `phone_number` is the line that changed."""
    return _line(data.get("phone_number"))


def _line_of_location(data: dict[str, Any]) -> str | None:
    return _line(data.get("shared_with"))


def _line_of_call(data: dict[str, Any]) -> str | None:
    """Find the line of `call.*`, which has no published payload.

    Uses the fields of other events, then the ends of the call by its direction.
    """
    return _line(data.get("phone_number")) or _line_of_any(data) or _line_of_call_ends(data)


_V3_LINES: Mapping[str, LineFinder] = {
    "message.*": _line_of_message,
    "poll.*": _line_of_message,
    "poll.updated": _line_of_poll_update,
    "poll.reaction.added": _line_of_reaction,
    "reaction.*": _line_of_reaction,
    "phone_number.*": _line_of_number,
    "environment.line_moved": _line_of_number,
    "zero_day_retention.updated": _line_of_number,
    "contact_card.created": _line_of_number,
    "contact_card.updated": _line_of_number,
    "contact_card.deleted": _line_of_number,
    "location.sharing.*": _line_of_location,
    "call.*": _line_of_call,
}


@lru_cache(_CACHED_TYPES)
def _v3_line_finder(event_type: str) -> LineFinder:
    return _row(_V3_LINES, event_type, _line_of_any)


def _v3_message(event_type: str, data: dict[str, Any], message: dict[str, Any]) -> str | None:
    """Return the message's id: a field of its own in most events, the payload's id in `message.*` of 2026-02-03."""
    message_id = _text(data.get("message_id")) or _text(message.get("id"))
    if message_id is None and event_type.startswith("message."):
        return _text(data.get("id"))
    return message_id


def _v3_service(data: dict[str, Any], chat: dict[str, Any]) -> str | None:
    if service := _text(data.get("service")):
        return service
    for handle in (chat.get("owner_handle"), data.get("participant"), data.get("changed_by_handle")):
        if isinstance(handle, dict) and (service := _text(handle.get("service"))):
            return service
    return None


# --- v2 (https://docs.linqapp.com/v2/api) -----------------------------------------------------------


def _v2_fields(event_type: str, data: dict[str, Any]) -> PayloadFields:
    return PayloadFields(
        line=_v2_line_finder(event_type)(data),
        chat=_number_or_text(data.get("chat_id")),
        message=_v2_message(event_type, data),
        direction=_direction(data) or _V2_DIRECTION.get(event_type),
        service=_text(data.get("service")),
        is_group=_bool(data.get("is_group")),
    )


def _line_of_chat_handles(data: dict[str, Any]) -> str | None:
    for handle in _list(data.get("chat_handles")):
        if _object(handle).get("is_me") is True and (line := _line(handle.get("identifier"))):
            return line
    return None


def _line_of_sent(data: dict[str, Any]) -> str | None:
    return _line_of_chat_handles(data) or _line(data.get("from_phone"))


def _line_of_call_ends(data: dict[str, Any]) -> str | None:
    match data.get("direction"):
        case "inbound":
            return _line(data.get("to"))
        case "outbound":
            return _line(data.get("from"))
        case _:
            return None


def _line_of_none(_data: dict[str, Any]) -> None:
    """Find no line in `contact.*`: its phone number is the contact's."""


_V2_LINES: Mapping[str, LineFinder] = {
    "message.sent": _line_of_sent,
    "call.*": _line_of_call_ends,
    "contact.*": _line_of_none,
}


@lru_cache(_CACHED_TYPES)
def _v2_line_finder(event_type: str) -> LineFinder:
    return _row(_V2_LINES, event_type, _line_of_chat_handles)


def _v2_message(event_type: str, data: dict[str, Any]) -> str | None:
    if event_type.startswith("reaction."):
        return _text(data.get("chat_message_id"))
    return _text(data.get("id")) if event_type.startswith("message.") else None


# --- both -------------------------------------------------------------------------------------------


def _row(table: Mapping[str, LineFinder], event_type: str, otherwise: LineFinder) -> LineFinder:
    """Return the most specific row of `table` for this type."""
    return next((table[pattern] for pattern in patterns_that_match(event_type) if pattern in table), otherwise)


def _line(value: object) -> str | None:
    """Return the value if it is a line."""
    return value if isinstance(value, str) and is_line(value) else None


def _handle(value: object) -> str | None:
    """Return the line in a field that is documented as one: a handle object, or in some events a plain string."""
    if isinstance(value, dict):
        return None if value.get("is_me") is False else _line(value.get("handle"))
    return _line(value)


def _handle_or_text(data: dict[str, Any], handle: str, text: str) -> str | None:
    """Return the line in a handle or in the deprecated text field with the same number; None if `is_me` is false."""
    if line := _handle(data.get(handle)):
        return line
    return _line(data.get(text)) if _object(data.get(handle)).get("is_me") is not False else None


def _own_handle(value: object) -> str | None:
    """Return the line of a handle object with `is_me: true`."""
    return _line(value.get("handle")) if isinstance(value, dict) and value.get("is_me") is True else None


def _outbound(data: dict[str, Any]) -> bool | None:
    """Return True if the line sent it; None if the payload does not have a direction."""
    from_me, direction = data.get("is_from_me"), data.get("direction")
    if isinstance(from_me, bool):
        return from_me
    return _OUTBOUND.get(direction) if isinstance(direction, str) else None


def _direction(data: dict[str, Any]) -> str | None:
    outbound = _outbound(data)
    if outbound is None:
        return None
    return "outbound" if outbound else "inbound"


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return (value if isinstance(value, str) and value.isascii() else storable(value)) if value else None


def _number_or_text(value: object) -> str | None:
    """Return an id of v2: a string of digits in events, a number in the API's responses."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return str(value) if is_number else _text(value)


def _bool(*values: object) -> bool | None:
    for value in values:
        if isinstance(value, bool):
            return value
    return None
