from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.core.errors import BadSignature
from relay.core.line_secret import LineSecret
from relay.core.secret import SigningSecret
from relay.linq.signatures import v2, v3_legacy
from tests.linq.building import SENT_AT, V2_BODY, V2_KNOWN, V2_SECRET, V2_SIGNATURE, changed, v2_headers
from tests.properties import any_text, quick

NAME = "X-Webhook-Signature"


def test_vector_verifies() -> None:
    assert v2.verify(v2_headers(), V2_BODY, [V2_KNOWN]) is V2_KNOWN


def test_our_signature_equals_the_vector() -> None:
    assert v2.sign(V2_SECRET, V2_BODY) == dict(v2_headers())


def test_upper_case_hex_is_accepted() -> None:
    upper = "sha256=" + V2_SIGNATURE.removeprefix("sha256=").upper()
    assert v2.verify(changed(v2_headers(), NAME, upper), V2_BODY, [V2_KNOWN]) is V2_KNOWN


def test_signing_secret_is_returned() -> None:
    other = LineSecret(None, 0, SigningSecret("another"))
    assert v2.verify(v2_headers(), V2_BODY, [other, V2_KNOWN]) is V2_KNOWN


@pytest.mark.parametrize("known", [[], [LineSecret(None, 0, SigningSecret("another"))]])
def test_wrong_signature_may_need_another_secret(known: list[LineSecret]) -> None:
    with pytest.raises(BadSignature) as caught:
        v2.verify(v2_headers(), V2_BODY, known)
    assert caught.value.another_secret_could_help


@pytest.mark.parametrize("scheme", ["", "sha1=", "SHA256=", "sha256:", "sha256 =", "v1,"])
def test_signature_without_its_scheme_is_refused(scheme: str) -> None:
    headers = changed(v2_headers(), NAME, V2_SIGNATURE.replace("sha256=", scheme))
    with pytest.raises(BadSignature, match="sha256=") as caught:
        v2.verify(headers, V2_BODY, [V2_KNOWN])
    assert not caught.value.another_secret_could_help


def test_v3_signature_is_refused() -> None:
    headers = CIMultiDict(v3_legacy.sign(V2_SECRET, SENT_AT, V2_BODY))
    with pytest.raises(BadSignature):
        v2.verify(headers, V2_BODY, [V2_KNOWN])
    with pytest.raises(BadSignature):
        v2.verify(changed(headers, NAME, "sha256=" + headers[NAME]), V2_BODY, [V2_KNOWN])


@pytest.mark.parametrize("values", [(), ("",), ("é",), ("\udcff",), (V2_SIGNATURE, V2_SIGNATURE), ("sha256=",)])
def test_invalid_header_is_a_bad_signature(values: tuple[str, ...]) -> None:
    with pytest.raises(BadSignature):
        v2.verify(changed(v2_headers(), NAME, *values), V2_BODY, [V2_KNOWN])


@quick
@given(st.text(st.characters(codec="utf-8"), min_size=1), st.binary())
def test_any_body_and_secret_verify(secret: str, body: bytes) -> None:
    known = LineSecret(None, 0, SigningSecret(secret))
    assert v2.verify(CIMultiDict(v2.sign(known.secret, body)), body, [known]) is known


@quick
@given(st.integers(0, len(V2_BODY) - 1), st.integers(1, 255))
def test_changed_body_byte_is_refused(position: int, difference: int) -> None:
    body = bytearray(V2_BODY)
    body[position] ^= difference
    with pytest.raises(BadSignature):
        v2.verify(v2_headers(), bytes(body), [V2_KNOWN])


@quick
@given(st.integers(0, len(V2_SIGNATURE) - 1), st.characters(max_codepoint=0x2FF))
def test_changed_signature_character_is_refused(position: int, other: str) -> None:
    value = list(V2_SIGNATURE)
    value[position] = other if value[position] != other.lower() else "!"
    with pytest.raises(BadSignature):
        v2.verify(changed(v2_headers(), NAME, "".join(value)), V2_BODY, [V2_KNOWN])


@quick
@given(st.lists(any_text | any_text.map("sha256=".__add__), max_size=2))
def test_junk_header_raises_only_bad_signature(values: list[str]) -> None:
    with pytest.raises(BadSignature):
        v2.verify(changed(v2_headers(), NAME, *values), V2_BODY, [V2_KNOWN])
