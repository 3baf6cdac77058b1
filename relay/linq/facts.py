"""What a payload says about itself: line, chat, message, direction, service, group. Pure lookups, one table a dialect.

Linq puts the line's own number in a different place for nearly every event type, and next to it the customer's. The
tables below follow the shapes in Linq's SDK types and v2 reference, row by row, and never guess from a field that can
hold the other side:

* a handle object counts as the line only if it says `is_me: true`, or stands where Linq documents the line
  (`owner_handle`, `recipient_handle` of an inbound message) and does not say `is_me: false`;
* `phone_number` is the line in v3 line and account events and a customer in v2 `contact.*`;
* an e-mail address is never a line, although a line can appear under one.

An event type that is not listed gets the rules that are safe for any (`owner_handle`, handles with `is_me`), so new
types flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.event import Dialect, Facts
from relay.core.json_text import storable
from relay.core.lines import is_line
from relay.core.patterns import patterns_that_match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    LineFinder = Callable[[dict[str, Any]], Iterator[object]]

_OWN_HANDLES = ("sender_handle", "from_handle", "recipient_handle", "participant", "changed_by_handle", "actor_handle")


def facts_of(dialect: Dialect, event_type: str, data: dict[str, Any]) -> Facts:
    """Everything that `data` of an event of this type says."""
    if dialect is Dialect.V2:
        return _v2_facts(event_type, data)
    return _v3_facts(event_type, data)


# --- v3 ---------------------------------------------------------------------------------------------


def _v3_facts(event_type: str, data: dict[str, Any]) -> Facts:
    chat = _object(data.get("chat"))
    return Facts(
        line=_first_line(_row(_V3_LINES, event_type, _line_of_any)(data)),
        chat=_text(chat.get("id")) or _text(data.get("id" if event_type == "chat.created" else "chat_id")),
        message=_v3_message(event_type, data),
        direction=_v3_direction(event_type, data),
        service=_v3_service(data),
        is_group=_bool(chat.get("is_group"), data.get("is_group")),
        reconciled_at=_text(data.get("reconciled_at")),
    )


def _line_of_any(data: dict[str, Any]) -> Iterator[object]:
    """Safe for every v3 type: the owner of the chat, and whoever is marked as us."""
    yield _handle(_object(data.get("chat")).get("owner_handle"))
    yield _handle(data.get("owner_handle"))
    yield from _line_of_own_handles(data)


def _line_of_own_handles(data: dict[str, Any]) -> Iterator[object]:
    for name in _OWN_HANDLES:
        yield _own_handle(data.get(name))
    for handle in _list(data.get("handles")):
        yield _own_handle(handle)


def _line_of_message(data: dict[str, Any]) -> Iterator[object]:
    """`message.*`, `poll.*`: the chat's owner (2026-02-03), else the sender or recipient by direction (2025-01-01)."""
    yield from _line_of_any(data)
    if _outbound(data) is True:
        yield _handle(data.get("sender_handle"))
        yield from _handle_or_text(data, "from_handle", "from")
    elif _outbound(data) is False:
        yield from _handle_or_text(data, "recipient_handle", "recipient_phone")


def _line_of_poll_update(data: dict[str, Any]) -> Iterator[object]:
    """`poll.updated` documents its `sender_handle` as the line."""
    yield from _line_of_message(data)
    yield _handle(data.get("sender_handle"))


def _line_of_reaction(data: dict[str, Any]) -> Iterator[object]:
    """Only our own reactions name the line; a customer's carries the customer's number in the same fields."""
    yield from _line_of_any(data)
    if data.get("is_from_me") is True:
        yield from _handle_or_text(data, "from_handle", "from")


def _line_of_number(data: dict[str, Any]) -> Iterator[object]:
    """Line and account events: `phone_number` is the line the change is about."""
    yield data.get("phone_number")


def _line_of_location(data: dict[str, Any]) -> Iterator[object]:
    yield data.get("shared_with")


def _line_of_call(data: dict[str, Any]) -> Iterator[object]:
    """`call.*` has no published payload: the fields that other events use, then the call's ends by its direction."""
    yield data.get("phone_number")
    yield from _line_of_any(data)
    yield from _line_of_call_ends(data)


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


def _v3_message(event_type: str, data: dict[str, Any]) -> str | None:
    """The message's id: named in most events, the payload's own id in `message.*` of 2026-02-03."""
    named = _text(data.get("message_id")) or _text(_object(data.get("message")).get("id"))
    if named is None and event_type.startswith("message."):
        return _text(data.get("id"))
    return named


def _v3_direction(event_type: str, data: dict[str, Any]) -> str | None:
    outbound = _outbound(data)
    if outbound is not None:
        return "outbound" if outbound else "inbound"
    return {"message.failed": "outbound", "contact_card.received": "inbound"}.get(event_type)


def _v3_service(data: dict[str, Any]) -> str | None:
    owner = _object(_object(data.get("chat")).get("owner_handle"))
    others = (_object(data.get(name)).get("service") for name in ("participant", "changed_by_handle"))
    return next(filter(None, map(_text, (data.get("service"), owner.get("service"), *others))), None)


# --- v2 ---------------------------------------------------------------------------------------------


def _v2_facts(event_type: str, data: dict[str, Any]) -> Facts:
    return Facts(
        line=_first_line(_row(_V2_LINES, event_type, _line_of_chat_handles)(data)),
        chat=_number_or_text(data.get("chat_id")),
        message=_v2_message(event_type, data),
        direction=_v2_direction(event_type, data),
        service=_text(data.get("service")),
        is_group=_bool(data.get("is_group")),
    )


def _line_of_chat_handles(data: dict[str, Any]) -> Iterator[object]:
    for handle in _list(data.get("chat_handles")):
        if _object(handle).get("is_me") is True:
            yield handle.get("identifier")


def _line_of_sent(data: dict[str, Any]) -> Iterator[object]:
    yield from _line_of_chat_handles(data)
    yield data.get("from_phone")


def _line_of_call_ends(data: dict[str, Any]) -> Iterator[object]:
    match data.get("direction"):
        case "inbound":
            yield data.get("to")
        case "outbound":
            yield data.get("from")
        case _:
            return


def _line_of_none(_data: dict[str, Any]) -> Iterator[object]:
    """`contact.*`: its phone number is the contact's."""
    return iter(())


_V2_LINES: Mapping[str, LineFinder] = {
    "message.sent": _line_of_sent,
    "call.*": _line_of_call_ends,
    "contact.*": _line_of_none,
}


def _v2_message(event_type: str, data: dict[str, Any]) -> str | None:
    if event_type.startswith("reaction."):
        return _text(data.get("chat_message_id"))
    return _text(data.get("id")) if event_type.startswith("message.") else None


def _v2_direction(event_type: str, data: dict[str, Any]) -> str | None:
    outbound = _outbound(data)
    if outbound is not None:
        return "outbound" if outbound else "inbound"
    return {"message.received": "inbound", "message.sent": "outbound"}.get(event_type)


# --- both -------------------------------------------------------------------------------------------


def _row(table: Mapping[str, LineFinder], event_type: str, otherwise: LineFinder) -> LineFinder:
    """The most exact row of `table` for this type."""
    return next((table[pattern] for pattern in patterns_that_match(event_type) if pattern in table), otherwise)


def _first_line(candidates: Iterator[object]) -> str | None:
    return next((candidate for candidate in candidates if isinstance(candidate, str) and is_line(candidate)), None)


def _handle(value: object) -> object:
    """The number in a place that is documented as the line: a handle object, or in some events a plain string."""
    if isinstance(value, dict):
        return None if value.get("is_me") is False else value.get("handle")
    return value


def _handle_or_text(data: dict[str, Any], handle: str, text: str) -> Iterator[object]:
    """A handle and the deprecated text beside it, which is the same number: not ours if the handle is not."""
    yield _handle(data.get(handle))
    if _object(data.get(handle)).get("is_me") is not False:
        yield data.get(text)


def _own_handle(value: object) -> object:
    """The number of a handle object that says it is us."""
    handle = _object(value)
    return handle.get("handle") if handle.get("is_me") is True else None


def _outbound(data: dict[str, Any]) -> bool | None:
    """Whether we sent it; None where the payload does not say."""
    from_me = data.get("is_from_me")
    if isinstance(from_me, bool):
        return from_me
    return {"outbound": True, "inbound": False}.get(_text(data.get("direction")) or "")


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return storable(value) or None


def _number_or_text(value: object) -> str | None:
    """An id of v2: digits in quotes in its events, without them in its API's answers."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return str(value) if is_number else _text(value)


def _bool(*values: object) -> bool | None:
    return next((value for value in values if isinstance(value, bool)), None)
