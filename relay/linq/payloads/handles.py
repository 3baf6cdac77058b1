"""Handles: the phone number or the e-mail address of a person in a conversation, as payloads have it.

A phone number is written in E.164; an e-mail address is compared in lower case. There is no index of handles: a search
looks for the handle in the bodies, first as text, then at a place that is not the text of a message.
"""

from __future__ import annotations

from typing import Any

from relay.core.json_text import parse_json
from relay.core.lines import is_line, line_meant_by

_TEXTS = frozenset({"value", "text", "body", "display_name"})
"""Keys of payloads whose content people write."""
_MAX = 254  # characters of an e-mail address (RFC 5321)


def normalised_handle(text: str) -> str:
    """Return a handle in the form in which it is compared: E.164, or an e-mail address in lower case.

    Raises:
        ValueError: it is neither.
    """
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if at and local and domain and len(text) <= _MAX and not any(map(str.isspace, text)) and '"' not in text:
        return text.lower()
    if is_line(text):
        return text
    if meant := line_meant_by(text):
        return meant
    raise ValueError(
        f'"{text}" is neither a phone number with its country code, such as +13035550188, nor an e-mail address'
    )


def is_email(handle: str) -> bool:
    """Return True if a normalised handle is an e-mail address."""
    return "@" in handle


def quoted(handle: str) -> str:
    """Return a normalised handle as JSON has it: a whole string, so that no longer one is found by its beginning."""
    return f'"{handle}"'


def has_handle(body: bytes, handle: str) -> bool:
    """Return True if a payload names the normalised handle, elsewhere than in the text of a message."""
    try:
        return _has(parse_json(body), handle)
    except ValueError:
        return False


def _has(value: Any, handle: str) -> bool:
    if isinstance(value, str):
        return value == handle or ("@" in value and value.lower() == handle)
    if isinstance(value, dict):
        return any(_has(each, handle) for key, each in value.items() if key not in _TEXTS or not isinstance(each, str))
    return isinstance(value, list) and any(_has(each, handle) for each in value)
