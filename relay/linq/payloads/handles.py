"""Search for a handle in payloads.

There is no index of handles: a search looks for the handle in the bodies, first as text, then at a place that is not
the text of a message.
"""

from __future__ import annotations

from typing import Any

from relay.core.json_text import parse_json

_TEXTS = frozenset({"value", "text", "body", "display_name"})
"""Keys of payloads whose content people write."""


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
