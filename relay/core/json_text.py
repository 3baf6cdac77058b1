"""JSON as it comes from outside."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json


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
            return json.loads(body)
        except RecursionError:
            raise ValueError("nested too deeply") from None
