"""Opt-outs: a customer's message whose whole text is a keyword, such as STOP.

Linq marks the chat `OPTED_OUT` and refuses messages to it (HTTP 403, code 2024) until the customer writes again. It
sends no event of its own, so the fact is read from the message. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.core.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.core.conditions.content import OptOut

_RECEIVED = "message.received"
_KEYWORDS: Mapping[str, OptOut] = {
    **dict.fromkeys(("stop", "stopall", "unsubscribe", "cancel", "end", "quit"), "stop"),
    **dict.fromkeys(("start", "unstop"), "start"),
}
_LONGEST = 256  # characters of a text that can be a keyword with white space around it


def opt_out_of(body: bytes) -> OptOut | None:
    """Return `stop` or `start` if `body` is a received message with such a keyword as its whole text, else None."""
    try:
        return opt_out_in(parse_json(body))
    except ValueError:
        return None


def opt_out_in(envelope: Any) -> OptOut | None:
    """Return the same for a parsed body."""
    if not isinstance(envelope, dict) or envelope.get("event_type") != _RECEIVED:
        return None
    data = envelope.get("data")
    if not isinstance(data, dict) or data.get("direction") == "outbound" or data.get("is_from_me") is True:
        return None
    text = text_of(data)
    if text is None or len(text) > _LONGEST:
        return None
    return _KEYWORDS.get(text.strip().lower())


def text_of(data: Mapping[str, Any]) -> str | None:
    """Return the text of a message in any payload version, its parts joined; None if it has none."""
    parts = parts_of(data)
    if parts is None:
        text = data.get("text")  # v2
        return text if isinstance(text, str) else None
    values = [part.get("value") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    texts = [value for value in values if isinstance(value, str)]
    return "\n".join(texts) if texts else None


def parts_of(data: Mapping[str, Any]) -> list[Any] | None:
    """Return the parts of a message of v3: in `data` since 2026-02-03, before that in `data.message`."""
    parts = data.get("parts")
    if parts is None and isinstance(message := data.get("message"), dict):
        parts = message.get("parts")
    return parts if isinstance(parts, list) else None
