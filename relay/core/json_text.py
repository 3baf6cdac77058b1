"""Parsing of untrusted JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

_MAX_DIGITS = 4300  # Python's own limit for turning text into an int


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def storable(value: object) -> str | None:
    """Return `value` if it is text that UTF-8 can encode, else None; JSON can contain lone surrogates."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def parse_json(body: bytes) -> Any:
    """Parse `body`.

    pydantic's parser is fast but refuses lone surrogates and deep nesting; the standard library's accepts them.

    Raises:
        ValueError: `body` is not JSON.
    """
    try:
        return from_json(body)
    except ValueError:
        try:
            return json.loads(body, parse_int=_number)
        except RecursionError:
            raise ValueError("nested too deeply") from None
