from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.lines import digits_of_line, is_line, line_meant_by, line_of_digits
from tests.building import LINE
from tests.properties import any_text, lines, quick


@pytest.mark.parametrize("text", ["+16465550123", "+4915112345678", "+123456789012345", "+12"])
def test_e164_number_is_a_line(text: str) -> None:
    assert is_line(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "+", "16465550123", "+0646555012", "+1", "+1234567890123456", "+1646555O123", "+1 6465550123"),
        *("+1646555012\n", " +16465550123", "++16465550123", "mara@example.net", "+١٦٤٦٥٥٥٠١٢٣", "+1646555012²"),
        *(None, 16465550123, b"+16465550123", ["+16465550123"]),
    ],
)
def test_other_values_are_not_a_line(text: object) -> None:
    assert not is_line(text)


@pytest.mark.parametrize("digits", ["16465550123", "+16465550123", " 16465550123", "16465550123 "])
def test_url_digits_are_a_line_with_or_without_plus_sign(digits: str) -> None:
    assert line_of_digits(digits) == LINE


@pytest.mark.parametrize("digits", ["", " ", "+", "1", "0123", "abc", "++16465550123", "+ 16465550123", "1646 5550123"])
def test_invalid_url_digits_are_not_a_line(digits: str) -> None:
    assert line_of_digits(digits) is None


@quick
@given(lines)
def test_line_survives_a_url_round_trip(line: str) -> None:
    assert is_line(line)
    assert line_of_digits(digits_of_line(line)) == line


@pytest.mark.parametrize(
    "text", ["+1 (646) 555-0123", "+1 646.555.0123", "+1-646-555-0123", " +1 646 555 0123", "tel:+1-646-555-0123"]
)
def test_formatted_number_gives_a_hint(text: str) -> None:
    assert line_meant_by(text) == LINE


@pytest.mark.parametrize("text", ["", "646 555 0123", "(646) 555-0123", "support", "+1 646", "+999 1234567", "+"])
def test_number_without_country_gives_no_hint(text: str) -> None:
    assert line_meant_by(text) is None


@quick
@given(any_text | st.text(alphabet="+0123456789 ()-"))
def test_hint_is_a_line_or_none(text: str) -> None:
    hint = line_meant_by(text)
    assert hint is None or is_line(hint)
    found = line_of_digits(text)
    assert found is None or is_line(found)
