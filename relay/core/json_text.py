"""JSON as it comes from outside."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

_MAX_DIGITS = 4300  # Python's own limit for turning text into an int


def _number(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def storable(value: object) -> str | None:
    """`value` if it is text that UTF-8 can write; JSON can also write half a surrogate pair."""
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def parse_json(body: bytes) -> Any:
    """The value in `body`.

    pydantic's parser is quick but refuses lone surrogates and deep nesting; the standard library's takes them.

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
