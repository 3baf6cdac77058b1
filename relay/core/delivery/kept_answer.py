"""The part of an answer that is kept so that a shadow's can be compared with it: short, and equal if the answers are.

JSON is written in one form first, so that spaces and the order of keys make no difference. A text that is too long is
cut, and ends with the digest of the whole.
"""

from __future__ import annotations

import json
from hashlib import sha256

from relay.core.json_text import parse_json

MAX_KEPT = 512
"""Bytes that are kept of an answer at most."""

_DIGEST = 16  # hexadecimal digits: 64 bits, and an equal start
_EMPTY = "(empty)"


def kept_answer(body: bytes | bytearray) -> str:
    """Return what is kept of a response's body."""
    data = bytes(body)
    if not data:
        return _EMPTY
    text = _canonical(data)
    whole = text.encode(errors="replace")  # JSON can have lone surrogates
    if len(whole) <= MAX_KEPT:
        return whole.decode()
    end = f"… ({len(whole)} bytes, sha256 {sha256(whole).hexdigest()[:_DIGEST]})"
    return whole[: MAX_KEPT - len(end.encode())].decode(errors="ignore") + end


def _canonical(data: bytes) -> str:
    try:
        return json.dumps(parse_json(data), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return data.decode(errors="replace")
