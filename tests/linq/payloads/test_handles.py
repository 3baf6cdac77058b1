from __future__ import annotations

import json

import pytest

from relay.core.conditions.handles import normalised_handle
from relay.linq.payloads.handles import has_handle


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+13035550188", "+13035550188"),
        (" +1 (303) 555-0188 ", "+13035550188"),
        ("Ann.Lee@Example.COM", "ann.lee@example.com"),
    ],
)
def test_handle_is_normalised(text: str, expected: str) -> None:
    assert normalised_handle(text) == expected


@pytest.mark.parametrize("text", ["", "3035550188", "ann", "@example.com", "ann@", "a b@example.com", 'a"@example.com'])
def test_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is neither a phone number .* nor an e-mail"):
        normalised_handle(text)


def test_handle_is_found_anywhere_but_in_what_people_write() -> None:
    handle = "ann@example.com"
    assert has_handle(json.dumps({"data": {"handles": [{"handle": "Ann@Example.com"}]}}).encode(), handle)
    assert not has_handle(json.dumps({"data": {"parts": [{"type": "text", "value": handle}]}}).encode(), handle)
    assert not has_handle(json.dumps({"data": {"from": f"x{handle}"}}).encode(), handle)
    assert not has_handle(b"{", handle)
