from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.core.errors import BadSignature, Unparsable
from relay.core.event import Dialect, VerifiedWebhook
from relay.core.line_secret import LineSecret
from relay.linq.payloads.shard_key import read_head
from relay.linq.signatures import standard, v2, v3_legacy
from relay.linq.signatures.verify import verify_v2, verify_v3
from tests.building import LINE, OTHER_LINE, OTHER_SECRET, SECRET
from tests.linq.building import (
    BODY,
    EVENT_ID,
    KNOWN,
    LEGACY_SIGNATURE,
    SENT_AT,
    STANDARD_SIGNATURE,
    V2_BODY,
    V2_KNOWN,
    V2_SECRET,
    both_headers,
    changed,
    legacy_headers,
    standard_headers,
    v2_headers,
)
from tests.properties import any_text, json_values, quick, visible_ascii

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.secret import SigningSecret

TYPE = "chat.typing_indicator.started"
TRACE = "6b1f0c9d2a7e4583b0d4e1f29a8c7d35"
STANDARD_NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")
LEGACY_NAMES = ("X-Webhook-Timestamp", "X-Webhook-Signature")
NO_ENVELOPE = [b"", b"hello", b"[]", b"{}", b'{"event_id":"e"}', b'{"event_type":"t"}', b"\xff\xfe\xfd", b"[" * 100_000]


# --- v3: precedence of signatures -----------------------------------------------------------------


@pytest.mark.parametrize("headers", [both_headers(), standard_headers(), legacy_headers()], ids=["both", "new", "old"])
def test_webhook_signed_by_linq_is_accepted(headers: CIMultiDict[str]) -> None:
    assert verify_v3(headers, BODY, [KNOWN], SENT_AT) == VerifiedWebhook(
        id=EVENT_ID,
        type=TYPE,
        dialect=Dialect.V3,
        webhook_id=EVENT_ID,
        line=LINE,
        body=BODY,
        generation=1,
        trace=TRACE,
        keyed=read_head(BODY).data,
    )


def test_body_is_kept_byte_for_byte() -> None:
    body = b' {"event_type" : "t",\r\n "event_id":"\\u0065-1" , "data":{"b":1.0,"a":1e2}}  '
    headers = CIMultiDict(v3_legacy.sign(SECRET, SENT_AT, body))
    webhook = verify_v3(headers, body, [KNOWN], SENT_AT)
    assert webhook.body == body
    assert webhook.id == "e-1"


def test_valid_standard_signature_overrides_wrong_older_one() -> None:
    headers = changed(both_headers(), "X-Webhook-Signature", "0" * 64)
    assert verify_v3(headers, BODY, [KNOWN], SENT_AT).webhook_id == EVENT_ID


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("webhook-id", ("another-id",)),
        ("webhook-id", ()),
        ("webhook-timestamp", (str(SENT_AT + 1),)),
        ("webhook-timestamp", (str(SENT_AT - 301),)),
        ("webhook-timestamp", ()),
        ("webhook-signature", ("v1,AAAA",)),
        ("webhook-signature", ("v2,AAAA",)),
        ("webhook-signature", ("",)),
        ("webhook-signature", ()),
    ],
)
def test_wrong_standard_signature_overrides_valid_older_one(name: str, values: tuple[str, ...]) -> None:
    with pytest.raises(BadSignature):
        verify_v3(changed(both_headers(), name, *values), BODY, [KNOWN], SENT_AT)


@pytest.mark.parametrize("name", STANDARD_NAMES)
def test_single_standard_header_disables_older_signature(name: str) -> None:
    headers = legacy_headers()
    headers.add(name, both_headers()[name])
    with pytest.raises(BadSignature):
        verify_v3(headers, BODY, [KNOWN], SENT_AT)


def test_missing_signature_is_refused() -> None:
    with pytest.raises(BadSignature, match="missing"):
        verify_v3(CIMultiDict[str](), BODY, [KNOWN], SENT_AT)


# --- v3: fields of a verified webhook -------------------------------------------------------------


@pytest.mark.parametrize("headers", [standard_headers(), legacy_headers()], ids=["new", "old"])
@pytest.mark.parametrize("line", [LINE, OTHER_LINE, None])
def test_line_is_that_of_the_verifying_secret(headers: CIMultiDict[str], line: str | None) -> None:
    secrets = [LineSecret("+19995550100", 1, OTHER_SECRET), LineSecret(line, 3, SECRET)]
    assert verify_v3(headers, BODY, secrets, SENT_AT).line == line


def test_line_is_not_taken_from_the_payload() -> None:
    body = json.dumps({"event_id": "e", "event_type": "phone_number.assigned", "data": {"phone_number": OTHER_LINE}})
    headers = CIMultiDict(v3_legacy.sign(SECRET, SENT_AT, body.encode()))
    assert verify_v3(headers, body.encode(), [KNOWN], SENT_AT).line == LINE


@pytest.mark.parametrize("signer", [SECRET, OTHER_SECRET])
def test_each_secret_verifies_during_a_rotation(signer: SigningSecret) -> None:
    secrets = [LineSecret(LINE, 2, OTHER_SECRET), LineSecret(LINE, 1, SECRET)]
    headers = CIMultiDict(standard.sign(signer, "msg-1", SENT_AT, BODY))
    assert verify_v3(headers, BODY, secrets, SENT_AT).line == LINE


def test_webhook_id_is_the_signed_id() -> None:
    headers = CIMultiDict(standard.sign(SECRET, "msg_2Lml", SENT_AT, BODY))
    webhook = verify_v3(headers, BODY, [KNOWN], SENT_AT)
    assert (webhook.webhook_id, webhook.id) == ("msg_2Lml", EVENT_ID)


def test_webhook_id_defaults_to_the_event_id() -> None:
    assert verify_v3(legacy_headers(), BODY, [KNOWN], SENT_AT).webhook_id == EVENT_ID


def test_unknown_event_types_are_accepted() -> None:
    body = b'{"event_id":"e","event_type":"hologram.projected"}'
    headers = CIMultiDict(standard.sign(SECRET, "e", SENT_AT, body))
    assert verify_v3(headers, body, [KNOWN], SENT_AT).type == "hologram.projected"


# --- invalid envelopes ----------------------------------------------------------------------------


@pytest.mark.parametrize("body", NO_ENVELOPE)
@pytest.mark.parametrize(
    "sign", [lambda b: standard.sign(SECRET, "e", SENT_AT, b), lambda b: v3_legacy.sign(SECRET, SENT_AT, b)]
)
def test_signed_invalid_envelope_is_unparsable(body: bytes, sign: Callable[[bytes], dict[str, str]]) -> None:
    with pytest.raises(Unparsable):
        verify_v3(CIMultiDict(sign(body)), body, [KNOWN], SENT_AT)


@pytest.mark.parametrize("body", NO_ENVELOPE)
@pytest.mark.parametrize("headers", [both_headers(), standard_headers(), legacy_headers()], ids=["both", "new", "old"])
def test_unsigned_body_is_not_parsed(body: bytes, headers: CIMultiDict[str]) -> None:
    with pytest.raises(BadSignature):
        verify_v3(headers, body, [KNOWN], SENT_AT)


# --- v2 -------------------------------------------------------------------------------------------


def test_signed_v2_webhook_is_accepted_without_a_line() -> None:
    assert verify_v2(v2_headers(), V2_BODY, [V2_KNOWN]) == VerifiedWebhook(
        id="0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f",
        type="message.read",
        dialect=Dialect.V2,
        webhook_id="0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f",
        line=None,
        body=V2_BODY,
        keyed=read_head(V2_BODY).data,
    )


@pytest.mark.parametrize("body", NO_ENVELOPE)
def test_signed_invalid_v2_envelope_is_unparsable(body: bytes) -> None:
    with pytest.raises(Unparsable):
        verify_v2(CIMultiDict(v2.sign(V2_SECRET, body)), body, [V2_KNOWN])
    with pytest.raises(BadSignature):
        verify_v2(v2_headers(), body, [V2_KNOWN])


def test_unsigned_v2_webhook_id_is_ignored() -> None:
    headers = v2_headers()
    headers.add("webhook-id", "forged")
    assert verify_v2(headers, V2_BODY, [V2_KNOWN]).webhook_id == "0f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f"


# --- properties -----------------------------------------------------------------------------------

tokens = st.text(visible_ascii, min_size=1, max_size=256)


@quick
@given(tokens, tokens, st.dictionaries(st.text(), json_values), st.booleans())
def test_any_object_with_id_and_type_is_accepted(
    event_id: str,
    event_type: str,
    more: dict[str, Any],
    ascii_only: bool,  # noqa: FBT001
) -> None:
    envelope = {**more, "event_id": event_id, "event_type": event_type}
    body = json.dumps(envelope, ensure_ascii=ascii_only).encode()
    webhook = verify_v3(CIMultiDict(standard.sign(SECRET, "w", SENT_AT, body)), body, [KNOWN], SENT_AT)
    assert webhook._replace(keyed=None) == VerifiedWebhook(
        event_id, event_type, Dialect.V3, "w", LINE, body, generation=1
    )


junk = st.dictionaries(
    st.sampled_from([*STANDARD_NAMES, *LEGACY_NAMES]),
    st.lists(any_text | st.sampled_from([EVENT_ID, str(SENT_AT), STANDARD_SIGNATURE, LEGACY_SIGNATURE]), max_size=2),
)


@quick
@given(junk, st.binary())
def test_junk_raises_only_bad_signature(junk: dict[str, list[str]], body: bytes) -> None:
    headers = CIMultiDict((name, value) for name, values in junk.items() for value in values)
    with pytest.raises(BadSignature):
        verify_v3(headers, body, [KNOWN], SENT_AT)
    with pytest.raises(BadSignature):
        verify_v2(headers, body, [V2_KNOWN])
