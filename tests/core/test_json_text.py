from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.json_text import parse_json
from tests.properties import json_values, quick


@quick
@given(json_values, st.booleans())
def test_any_value_survives_a_round_trip(value: Any, ascii_only: bool) -> None:  # noqa: FBT001
    read = parse_json(json.dumps(value, ensure_ascii=ascii_only).encode())
    assert json.dumps(read) == json.dumps(value)


def test_lone_surrogate_is_accepted() -> None:
    assert parse_json(b'"\\ud83d"') == "\ud83d"


@pytest.mark.parametrize("depth", [150, 300, 600])
def test_deep_nesting_is_accepted(depth: int) -> None:
    value = parse_json(b"[" * depth + b"]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


def test_excessive_nesting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="too deeply"):
        parse_json(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("body", [b"", b"{", b"{]", b"nul", b"'x'", b'"\xff"', b"\x00", b"1 2", b'{"a":1,}'])
def test_invalid_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(body)


@quick
@given(st.binary())
def test_any_bytes_parse_or_raise_value_error(body: bytes) -> None:
    try:
        parse_json(body)
    except ValueError:
        return
