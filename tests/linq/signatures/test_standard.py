from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import linq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from standardwebhooks import Webhook, WebhookVerificationError

from relay.core.errors import BadSignature
from relay.core.line_secret import LineSecret
from relay.core.secret import SigningSecret
from relay.linq.signatures import standard
from tests.building import LINE, OTHER_LINE, OTHER_SECRET, SECRET
from tests.linq.building import BODY, EVENT_ID, KNOWN, SENT_AT, STANDARD_SIGNATURE, changed, standard_headers
from tests.properties import any_text, quick, visible_ascii

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")

ids = st.text(visible_ascii, min_size=1, max_size=60)
secrets = st.binary(min_size=1, max_size=64).map(
    lambda key: SigningSecret("whsec_" + base64.b64encode(key).decode()),
)


def test_vector_is_the_documented_one() -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    assert (len(BODY), digest[:8], digest[-6:]) == (314, "1d1cd6da", "18a0fd")
    assert SECRET.decoded == bytes(range(32))


def test_vector_verifies() -> None:
    assert standard.verify(standard_headers(), BODY, [KNOWN], SENT_AT) == (EVENT_ID, KNOWN)


def test_our_signature_equals_the_vector() -> None:
    assert standard.sign(SECRET, EVENT_ID, SENT_AT, BODY) == dict(standard_headers())


# --- several signatures, several secrets ----------------------------------------------------------


@pytest.mark.parametrize(
    "signatures",
    [
        f"v1,AAAA {STANDARD_SIGNATURE}",
        f"{STANDARD_SIGNATURE} v1,AAAA",
        f"v1a,AAAA v2,BBBB {STANDARD_SIGNATURE}",
        f"nonsense  v1, {STANDARD_SIGNATURE} {STANDARD_SIGNATURE}",
    ],
)
def test_single_valid_signature_of_several_is_enough(signatures: str) -> None:
    headers = changed(standard_headers(), "webhook-signature", signatures)
    assert standard.verify(headers, BODY, [KNOWN], SENT_AT) == (EVENT_ID, KNOWN)


@pytest.mark.parametrize("version", ["v1a,", "v2,", "V1,", "v11,", "v1", "v1:", ""])
def test_a_signature_of_another_version_is_ignored(version: str) -> None:
    headers = changed(standard_headers(), "webhook-signature", STANDARD_SIGNATURE.replace("v1,", version))
    with pytest.raises(BadSignature):
        standard.verify(headers, BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize(("before", "holds"), [(31, True), (32, False), (1000, False)])
def test_only_the_first_32_signatures_are_checked(before: int, holds: bool) -> None:  # noqa: FBT001
    headers = changed(standard_headers(), "webhook-signature", "v1,AAAA " * before + STANDARD_SIGNATURE)
    if holds:
        assert standard.verify(headers, BODY, [KNOWN], SENT_AT) == (EVENT_ID, KNOWN)
    else:
        with pytest.raises(BadSignature):
            standard.verify(headers, BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_only_a_space_separates_signatures(separator: str) -> None:
    headers = changed(standard_headers(), "webhook-signature", f"{STANDARD_SIGNATURE}{separator}v1,AAAA")
    with pytest.raises(BadSignature):
        standard.verify(headers, BODY, [KNOWN], SENT_AT)


def test_signing_secret_is_returned() -> None:
    others = [LineSecret(OTHER_LINE, 7, OTHER_SECRET), LineSecret(None, 2, SigningSecret("not base64!"))]
    assert standard.verify(standard_headers(), BODY, [*others, KNOWN], SENT_AT)[1] is KNOWN


@pytest.mark.parametrize("known", [[], [LineSecret(LINE, 2, OTHER_SECRET)]])
def test_wrong_signature_may_need_another_secret(known: list[LineSecret]) -> None:
    with pytest.raises(BadSignature) as caught:
        standard.verify(standard_headers(), BODY, known, SENT_AT)
    assert caught.value.another_secret_could_help


@pytest.mark.parametrize("signature", ["v1,", "v1,=", "v1, v1,"])
def test_secret_that_is_not_base64_never_verifies(signature: str) -> None:
    known = LineSecret(LINE, 1, SigningSecret("whsec_!!!"))
    with pytest.raises(BadSignature):
        standard.verify(changed(standard_headers(), "webhook-signature", signature), BODY, [known], SENT_AT)


# --- invalid headers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("values", [(), ("",), ("é",), ("\udcff",), ("a", "b")])
def test_invalid_header_is_a_bad_signature(name: str, values: tuple[str, ...]) -> None:
    with pytest.raises(BadSignature):
        standard.verify(changed(standard_headers(), name, *values), BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize("name", NAMES)
def test_repeated_equal_header_is_refused(name: str) -> None:
    headers = standard_headers()
    headers.add(name, headers[name])
    with pytest.raises(BadSignature, match="repeated"):
        standard.verify(headers, BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize("off", [-301, 301])
def test_valid_signature_of_another_time_is_refused(off: int) -> None:
    headers = standard.sign(SECRET, EVENT_ID, SENT_AT + off, BODY)
    with pytest.raises(BadSignature, match="300 seconds"):
        standard.verify(CIMultiDict(headers), BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize("name", NAMES)
def test_any_header_of_the_family_makes_it_present(name: str) -> None:
    headers = standard_headers()
    for other in NAMES:
        if other != name:
            del headers[other]
    assert standard.is_present(headers)
    del headers[name]
    assert not standard.is_present(headers)


# --- properties -----------------------------------------------------------------------------------


@quick
@given(secrets, ids, st.binary())
def test_any_signed_body_verifies(secret: SigningSecret, webhook_id: str, body: bytes) -> None:
    known = LineSecret(LINE, 1, secret)
    headers = CIMultiDict(standard.sign(secret, webhook_id, SENT_AT, body))
    assert standard.verify(headers, body, [known], SENT_AT) == (webhook_id, known)


@quick
@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_changed_body_byte_is_refused(position: int, difference: int) -> None:
    body = bytearray(BODY)
    body[position] ^= difference
    with pytest.raises(BadSignature):
        standard.verify(standard_headers(), bytes(body), [KNOWN], SENT_AT)


@quick
@given(st.sampled_from(NAMES), st.integers(0, 100), st.characters(max_codepoint=0x2FF))
def test_changed_header_character_is_refused(name: str, position: int, other: str) -> None:
    value = list(standard_headers()[name])
    position %= len(value)
    if value[position] == other:
        other = "!"
    value[position] = other
    with pytest.raises(BadSignature):
        standard.verify(changed(standard_headers(), name, "".join(value)), BODY, [KNOWN], SENT_AT)


@quick
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(any_text, max_size=2), min_size=1), st.binary())
def test_junk_headers_raise_only_bad_signature(junk: dict[str, list[str]], body: bytes) -> None:
    headers = standard_headers()
    for name, values in junk.items():
        headers = changed(headers, name, *values)
    with pytest.raises(BadSignature):
        standard.verify(headers, body, [KNOWN, LineSecret(LINE, 0, SigningSecret("odd"))], SENT_AT)


# --- compatibility with other libraries -----------------------------------------------------------


@quick
@given(secrets, ids, st.text(st.characters(codec="utf-8")))
def test_standardwebhooks_library_signs_the_same(secret: SigningSecret, webhook_id: str, text: str) -> None:
    theirs = Webhook(secret.text).sign(webhook_id, datetime.fromtimestamp(SENT_AT, UTC), text)
    assert standard.sign(secret, webhook_id, SENT_AT, text.encode())["webhook-signature"] == theirs
    headers = changed(changed(standard_headers(), "webhook-signature", theirs), "webhook-id", webhook_id)
    known = LineSecret(LINE, 1, secret)
    assert standard.verify(headers, text.encode(), [known], SENT_AT) == (webhook_id, known)


@quick
@given(secrets, ids, st.dictionaries(st.text(), st.text()).map(json.dumps))
def test_standardwebhooks_library_verifies_our_signature(secret: SigningSecret, webhook_id: str, text: str) -> None:
    headers = standard.sign(secret, webhook_id, int(time.time()), text.encode())
    assert Webhook(secret.text).verify(text, headers) == json.loads(text)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret.text).verify(text + " ", headers)


@pytest.fixture(scope="module")
def sdk() -> Iterator[linq.LinqAPIV3]:
    with linq.LinqAPIV3(api_key="unused") as client:
        yield client


def test_official_sdk_accepts_our_signature(sdk: linq.LinqAPIV3) -> None:
    headers = standard.sign(SECRET, EVENT_ID, int(time.time()), BODY)
    event = sdk.webhooks.unwrap(BODY.decode(), headers=headers, key=SECRET.text)
    assert event.event_type == "chat.typing_indicator.started"
    assert event.event_id == EVENT_ID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", EVENT_ID.replace("5", "6")),
        ("webhook-timestamp", str(SENT_AT)),
        ("webhook-timestamp", "soon"),
        ("webhook-signature", STANDARD_SIGNATURE),
        ("webhook-signature", "v1,"),
    ],
)
def test_official_sdk_refuses_the_same_webhooks(sdk: linq.LinqAPIV3, name: str, value: str) -> None:
    now = int(time.time())
    headers = {**standard.sign(SECRET, EVENT_ID, now, BODY), name: value}
    with pytest.raises(WebhookVerificationError):
        sdk.webhooks.unwrap(BODY.decode(), headers=headers, key=SECRET.text)
    with pytest.raises(BadSignature):
        standard.verify(CIMultiDict(headers), BODY, [KNOWN], now)
