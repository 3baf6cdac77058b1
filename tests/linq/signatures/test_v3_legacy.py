from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.core.errors import BadSignature
from relay.core.line_secret import LineSecret
from relay.core.secret import SigningSecret
from relay.linq.signatures import v3_legacy
from tests.building import LINE, OTHER_LINE, OTHER_SECRET, SECRET
from tests.linq.building import (
    BODY,
    KNOWN,
    LEGACY_SIGNATURE,
    LEGACY_SIGNATURE_OF_DECODED_KEY,
    SENT_AT,
    changed,
    legacy_headers,
)
from tests.properties import any_text, quick

NAMES = ("X-Webhook-Timestamp", "X-Webhook-Signature")


def test_vector_verifies() -> None:
    assert v3_legacy.verify(legacy_headers(), BODY, [KNOWN], SENT_AT) is KNOWN


def test_our_signature_equals_the_vector() -> None:
    assert v3_legacy.sign(SECRET, SENT_AT, BODY) == dict(legacy_headers())


def test_key_is_the_whole_secret_text() -> None:
    mac = hmac.new(SECRET.text.encode(), str(SENT_AT).encode() + b"." + BODY, hashlib.sha256)
    assert mac.hexdigest() == LEGACY_SIGNATURE


def test_decoded_key_signature_is_accepted() -> None:
    headers = changed(legacy_headers(), "X-Webhook-Signature", LEGACY_SIGNATURE_OF_DECODED_KEY)
    assert v3_legacy.verify(headers, BODY, [KNOWN], SENT_AT) is KNOWN


def test_upper_case_hex_is_accepted() -> None:
    headers = changed(legacy_headers(), "X-Webhook-Signature", LEGACY_SIGNATURE.upper())
    assert v3_legacy.verify(headers, BODY, [KNOWN], SENT_AT) is KNOWN


def test_secret_that_is_not_base64_verifies_as_text() -> None:
    known = LineSecret(LINE, 1, SigningSecret("issued long ago!"))
    headers = CIMultiDict(v3_legacy.sign(known.secret, SENT_AT, BODY))
    assert v3_legacy.verify(headers, BODY, [KNOWN, known], SENT_AT) is known


def test_empty_secret_never_verifies() -> None:
    signature = hmac.new(b"", str(SENT_AT).encode() + b"." + BODY, hashlib.sha256).hexdigest()
    headers = changed(legacy_headers(), "X-Webhook-Signature", signature)
    with pytest.raises(BadSignature):
        v3_legacy.verify(headers, BODY, [LineSecret(LINE, 1, SigningSecret(""))], SENT_AT)


def test_signing_secret_is_returned() -> None:
    assert v3_legacy.verify(legacy_headers(), BODY, [LineSecret(OTHER_LINE, 1, OTHER_SECRET), KNOWN], SENT_AT) is KNOWN


@pytest.mark.parametrize("known", [[], [LineSecret(LINE, 2, OTHER_SECRET)]])
def test_wrong_signature_may_need_another_secret(known: list[LineSecret]) -> None:
    with pytest.raises(BadSignature) as caught:
        v3_legacy.verify(legacy_headers(), BODY, known, SENT_AT)
    assert caught.value.another_secret_could_help


@pytest.mark.parametrize("off", [-300, 300])
def test_five_minute_old_timestamp_is_fresh(off: int) -> None:
    headers = CIMultiDict(v3_legacy.sign(SECRET, SENT_AT + off, BODY))
    assert v3_legacy.verify(headers, BODY, [KNOWN], SENT_AT) is KNOWN


@pytest.mark.parametrize("off", [-301, 301])
def test_timestamp_beyond_five_minutes_is_refused(off: int) -> None:
    headers = CIMultiDict(v3_legacy.sign(SECRET, SENT_AT + off, BODY))
    with pytest.raises(BadSignature, match="300 seconds"):
        v3_legacy.verify(headers, BODY, [KNOWN], SENT_AT)


def test_signature_of_the_body_alone_is_refused() -> None:
    body_only = hmac.new(SECRET.whole, BODY, hashlib.sha256).hexdigest()
    with pytest.raises(BadSignature):
        v3_legacy.verify(changed(legacy_headers(), "X-Webhook-Signature", body_only), BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("values", [(), ("",), ("é",), ("\udcff",), ("a",), ("a", "b")])
def test_invalid_header_is_a_bad_signature(name: str, values: tuple[str, ...]) -> None:
    with pytest.raises(BadSignature):
        v3_legacy.verify(changed(legacy_headers(), name, *values), BODY, [KNOWN], SENT_AT)


@quick
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.binary())
def test_any_body_and_secret_verify(secret: str, body: bytes) -> None:
    known = LineSecret(LINE, 1, SigningSecret(secret))
    headers = CIMultiDict(v3_legacy.sign(known.secret, SENT_AT, body))
    assert v3_legacy.verify(headers, body, [known], SENT_AT) is known


@quick
@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_changed_body_byte_is_refused(position: int, difference: int) -> None:
    body = bytearray(BODY)
    body[position] ^= difference
    with pytest.raises(BadSignature):
        v3_legacy.verify(legacy_headers(), bytes(body), [KNOWN], SENT_AT)


@quick
@given(st.sampled_from(NAMES), st.integers(0, 63), st.characters(max_codepoint=0x2FF))
def test_changed_header_character_is_refused(name: str, position: int, other: str) -> None:
    value = list(legacy_headers()[name])
    position %= len(value)
    value[position] = other if value[position] != other.lower() else "!"
    with pytest.raises(BadSignature):
        v3_legacy.verify(changed(legacy_headers(), name, "".join(value)), BODY, [KNOWN], SENT_AT)


@quick
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(any_text, max_size=2), min_size=1), st.binary())
def test_junk_headers_raise_only_bad_signature(junk: dict[str, list[str]], body: bytes) -> None:
    headers = legacy_headers()
    for name, values in junk.items():
        headers = changed(headers, name, *values)
    with pytest.raises(BadSignature):
        v3_legacy.verify(headers, body, [KNOWN], SENT_AT)
