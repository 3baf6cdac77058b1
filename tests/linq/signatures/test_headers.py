from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.core.errors import BadSignature
from relay.linq.signatures.headers import TOLERANCE, fresh_timestamp, single
from tests.linq.building import SENT_AT
from tests.properties import any_text, quick

NAME = "webhook-timestamp"


def test_header_names_ignore_case() -> None:
    assert single(CIMultiDict({"Webhook-Timestamp": "1"}), NAME) == "1"


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        (CIMultiDict[str](), "missing"),
        (CIMultiDict({NAME: ""}), "empty"),
        (CIMultiDict([(NAME, "1"), (NAME, "2")]), "repeated"),
        (CIMultiDict([(NAME, "1"), (NAME.upper(), "1")]), "repeated"),
        (CIMultiDict({NAME: "é"}), "not ASCII"),
        (CIMultiDict({NAME: "\udcff"}), "not ASCII"),
    ],
    ids=["missing", "empty", "repeated", "repeated in another case", "not ASCII", "bytes that are no text"],
)
def test_invalid_header_is_a_bad_signature(headers: CIMultiDict[str], complaint: str) -> None:
    with pytest.raises(BadSignature, match=f"the header {NAME} is {complaint}") as caught:
        single(headers, NAME)
    assert not caught.value.another_secret_could_help


@pytest.mark.parametrize("off", [-TOLERANCE, -1, 0, 0.5, 1, TOLERANCE])
def test_timestamp_within_five_minutes_is_fresh(off: float) -> None:
    assert fresh_timestamp(CIMultiDict({NAME: str(SENT_AT)}), NAME, SENT_AT + off) == str(SENT_AT)


@pytest.mark.parametrize("off", [-86400, -TOLERANCE - 1, -TOLERANCE - 0.5, TOLERANCE + 0.5, TOLERANCE + 1, 86400])
def test_timestamp_beyond_five_minutes_is_refused(off: float) -> None:
    with pytest.raises(BadSignature, match="more than 300 seconds off") as caught:
        fresh_timestamp(CIMultiDict({NAME: str(SENT_AT)}), NAME, SENT_AT + off)
    assert not caught.value.another_secret_could_help


NOT_UNIX_SECONDS = [
    *("soon", "1.5", "1789377302.0", "1e9", "0x6AA7", "1_789_377_302", "+1789377302", "-1789377302"),
    *(" 1789377302", "1789377302 ", "1789377302\n", "1789377302,1789377302", "2026-09-14T09:15:02Z"),
    *("1789377302000", "9" * 5000),
]


@pytest.mark.parametrize("text", NOT_UNIX_SECONDS)
def test_invalid_timestamp_is_a_bad_signature(text: str) -> None:
    with pytest.raises(BadSignature, match="not a Unix time"):
        fresh_timestamp(CIMultiDict({NAME: text}), NAME, SENT_AT)


@pytest.mark.parametrize("digits", ["١٧٨٩٣٧٧٣٠٢", "¹⁷", "\uff11\uff17\uff18\uff19"])
def test_digits_of_other_scripts_are_not_digits(digits: str) -> None:
    with pytest.raises(BadSignature, match="not ASCII"):
        fresh_timestamp(CIMultiDict({NAME: digits}), NAME, SENT_AT)


def test_timestamp_is_returned_as_it_was_signed() -> None:
    assert fresh_timestamp(CIMultiDict({NAME: f"00{SENT_AT}"}), NAME, SENT_AT) == f"00{SENT_AT}"


@quick
@given(st.lists(any_text, max_size=3), st.floats(0, 1e11))
def test_any_value_raises_only_bad_signature(values: list[str], now: float) -> None:
    headers = CIMultiDict((NAME, value) for value in values)
    try:
        text = fresh_timestamp(headers, NAME, now)
    except BadSignature:
        return
    assert abs(int(text) - now) <= TOLERANCE
