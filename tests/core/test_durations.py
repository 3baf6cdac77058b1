from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.core.durations import format_duration, parse_duration
from tests.properties import quick


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("1d", 86_400.0),
        ("7d", 604_800.0),
        ("0.5s", 0.5),
        ("0s", 0.0),
        ("007s", 7.0),
        (" 5s ", 5.0),
        ("5s\n", 5.0),
    ],
)
def test_number_and_unit_are_a_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "s", "ms", "5 s", "-5s", "+5s", "5S", "5w", "5D", "5days", "5sec", "5s5s", "1h30m"),
        *(".5s", "5.s", "1,5s", "1e3s", "²s", "infs", "nan", "5.5.5s", "0x5s"),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration") as caught:
        parse_duration(text)
    assert f'"{text}"' in str(caught.value)


@quick
@given(st.text())
def test_text_parses_or_raises_value_error(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except ValueError:
        return
    assert seconds >= 0


def test_infinite_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="is too long for a duration"):
        parse_duration("9" * 400 + "h")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0005, "0.5ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (5, "5s"),
        (90, "1.5m"),
        (120, "2m"),
        (3600, "1h"),
        (6 * 3600, "6h"),
        (36 * 3600, "36h"),
    ],
)
def test_duration_is_formatted_in_its_largest_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@quick
@given(st.floats(0.001, 999 * 3600.0).filter(lambda seconds: not 0.9995 <= seconds < 1))
@example(59.99)
@example(3599.0)
def test_formatted_duration_parses_back_within_a_percent(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("seconds", [0.9996, 1000 * 3600.0])
def test_duration_is_formatted_without_an_exponent(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.01)
