"""The text of tokens: found by the documented pattern, and refused when mistyped or cut."""

from __future__ import annotations

import re
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from relay.core.access.token_text import PATTERN, TokenText, new_token, parse_token
from tests.properties import any_text, quick


def test_token_is_found_by_the_pattern_and_parsed() -> None:
    token = new_token()
    text = str(token)
    assert re.search(rf"\b{PATTERN}\b", f"Authorization: Bearer {text}\n")
    assert parse_token(text) == token
    assert token.digest == sha256(token.secret.encode()).hexdigest()
    assert token.secret not in repr(token)
    assert new_token(token.id).secret != token.secret


def test_form_of_tokens_stays_as_it_is() -> None:
    token = TokenText("0123456789ab", "0123456789abcdefghijklmnopqrstuv")
    assert str(token) == "lrt_0123456789ab_0123456789abcdefghijklmnopqrstuv" + str(token)[-6:]
    assert parse_token(str(token)[:-6] + "000000") is None


@quick
@given(st.integers(0, 54), st.characters(codec="ascii", categories=["L", "N"]))
def test_one_wrong_character_is_noticed(position: int, character: str) -> None:
    text = str(new_token())
    changed = text[:position] + character + text[position + 1 :]
    assert (parse_token(changed) is None) == (changed != text)


@quick
@given(any_text)
def test_other_text_is_no_token(text: str) -> None:
    assert parse_token(text) is None
    assert parse_token(f"{new_token()}{text or ' '}") is None
