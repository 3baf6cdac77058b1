from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.errors import Unparsable
from relay.core.event import Dialect
from relay.linq.payloads.envelope import Envelope, read_envelope
from relay.linq.payloads.shard_key import read_head
from tests.linq.building import BODY, EVENT_ID, V2_BODY
from tests.properties import json_values, quick, visible_ascii

REQUIRED = b'"event_id":"e-1","event_type":"message.received"'
OPTIONAL = ("webhook_version", "created_at", "trace_id", "partner_id")


def with_data(data: bytes) -> bytes:
    return b'{%b,"data":%b}' % (REQUIRED, data)


# --- fields of an envelope ------------------------------------------------------------------------


def test_v3_envelope_is_parsed() -> None:
    assert read_envelope(BODY) == Envelope(
        event_id=EVENT_ID,
        event_type="chat.typing_indicator.started",
        webhook_version="2026-02-03",
        created_at="2026-09-14T09:15:02Z",
        trace_id="6b1f0c9d2a7e4583b0d4e1f29a8c7d35",
        partner_id="prt_demo_042",
        data={"chat_id": "5d1c7e0a-3b52-4c8e-9a41-0f6b7d2e8c11"},
    )


def test_v2_envelope_is_parsed() -> None:
    envelope = read_envelope(V2_BODY)
    assert (envelope.event_type, envelope.created_at) == ("message.read", "2026-09-14T09:15:02-06:00")
    assert (envelope.trace_id, envelope.partner_id) == (None, None)
    assert envelope.data["chat_id"] == "11111"


@pytest.mark.parametrize(
    ("dialect", "written", "version"),
    [
        (Dialect.V3, {"webhook_version": "2026-02-03"}, "2026-02-03"),
        (Dialect.V3, {"webhook_version": "2025-01-01"}, "2025-01-01"),
        (Dialect.V3, {"webhook_version": "2031-12-24"}, "2031-12-24"),
        (Dialect.V3, {}, "2025-01-01"),
        (Dialect.V3, {"webhook_version": None}, "2025-01-01"),
        (Dialect.V3, {"webhook_version": ""}, "2025-01-01"),
        (Dialect.V2, {}, "v2"),
        (Dialect.V2, {"webhook_version": "2026-02-03"}, "v2"),
    ],
)
def test_version_is_the_payload_shape(dialect: Dialect, written: dict[str, Any], version: str) -> None:
    envelope = read_envelope(json.dumps({"event_id": "e", "event_type": "t", **written}).encode())
    assert envelope.version(dialect) == version


@pytest.mark.parametrize(
    "created_at",
    [
        "2026-09-14T09:15:02Z",
        "2026-09-14T09:15:02.4Z",
        "2026-09-14T09:15:02.417203911Z",
        "2026-09-14T03:15:02-06:00",
        "2026-09-14 03:15:02 -0600",
        "yesterday",
    ],
)
def test_time_keeps_its_nanoseconds(created_at: str) -> None:
    body = json.dumps({"event_id": "e", "event_type": "t", "created_at": created_at})
    assert read_envelope(body.encode()).created_at == created_at


# --- missing or unusual fields --------------------------------------------------------------------


def test_id_and_type_are_enough() -> None:
    assert read_envelope(b"{%b}" % REQUIRED) == Envelope(event_id="e-1", event_type="message.received")


@pytest.mark.parametrize("odd", [None, 7, 7.5, True, [], ["x"], {}, {"x": 1}])
@pytest.mark.parametrize("name", OPTIONAL)
def test_optional_field_that_is_not_text_counts_as_missing(name: str, odd: object) -> None:
    body = json.dumps({"event_id": "e", "event_type": "t", name: odd}).encode()
    assert read_envelope(body) == Envelope(event_id="e", event_type="t")


@pytest.mark.parametrize("odd", [None, 7, 7.5, True, "text", [], [{"chat_id": "c"}]])
def test_data_that_is_not_an_object_counts_as_missing(odd: object) -> None:
    body = json.dumps({"event_id": "e", "event_type": "t", "data": odd}).encode()
    assert read_envelope(body).data == {}


def test_unknown_fields_are_ignored() -> None:
    assert read_envelope(b'{%b,"hologram":{"depth":3}}' % REQUIRED).event_id == "e-1"


@pytest.mark.parametrize(
    "data",
    [
        b'{"text":"half of a pair: \\ud83d"}',
        b'{"\\udc00":1}',
        b'{"n":NaN,"i":Infinity,"j":-Infinity}',
        b'{"n":1e999,"m":-1e-999}',
        b'{"n":%b}' % (b"9" * 4300),
        b'{"n":0.%b}' % (b"3" * 9000),
        b'{"n":%b1%b}' % (b"[" * 600, b"]" * 600),
        b'{"n":%b1%b}' % (b'{"x":' * 600, b"}" * 600),
        b'{"a":1,"a":2}',
        '{"text":"שלום 👋🏽"}'.encode(),
        b" \n\t{ } \r\n",
    ],
    ids=[
        *("lone surrogate", "lone surrogate in a key", "not a number", "too large for a float", "a long integer"),
        *("a long fraction", "deep lists", "deep objects", "a key twice", "other scripts", "blanks"),
    ],
)
def test_unusual_json_inside_is_accepted(data: bytes) -> None:
    body = with_data(data)
    assert read_head(body).event_id == "e-1"
    assert read_envelope(body).event_type == "message.received"


def test_number_of_any_length_is_accepted() -> None:
    assert read_head(with_data(b'{"n":%b}' % (b"9" * 5000))).event_id == "e-1"


def test_byte_order_mark_is_accepted() -> None:
    assert read_head(b"\xef\xbb\xbf{%b}" % REQUIRED).event_id == "e-1"


# --- required fields ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["event_id", "event_type"])
@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, True, [], {}, "", " ", "two words", "line\nbreak", "é", "nul\0", "e-1\n"),
        "x" * 257,
    ],
)
def test_id_and_type_must_fit_a_header(name: str, value: object) -> None:
    body = json.dumps({"event_id": "e", "event_type": "t", name: value}).encode()
    for read in (read_head, read_envelope):
        with pytest.raises(Unparsable, match=name):
            read(body)


@pytest.mark.parametrize("name", ["event_id", "event_type"])
def test_missing_id_or_type_is_unparsable(name: str) -> None:
    envelope = {"event_id": "e", "event_type": "t", "data": {}}
    del envelope[name]
    for read in (read_head, read_envelope):
        with pytest.raises(Unparsable, match=name):
            read(json.dumps(envelope).encode())


@pytest.mark.parametrize(
    "body",
    [b"null", b"true", b"7", b'"text"', b"[]", b'[{"event_id":"e","event_type":"t"}]'],
)
def test_envelope_must_be_an_object(body: bytes) -> None:
    for read in (read_head, read_envelope):
        with pytest.raises(Unparsable, match="the body"):
            read(body)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"{%b" % REQUIRED, b"{%b}}" % REQUIRED, b"event_id=e&event_type=t", b"\x00", b"\xff\xfe"),
        b'{%b,"x":"\xff"}' % REQUIRED,
        with_data(b"[" * 100_000 + b"]" * 100_000),
        with_data(b"[" * 100_000),
    ],
)
def test_invalid_json_is_unparsable(body: bytes) -> None:
    for read in (read_head, read_envelope):
        with pytest.raises(Unparsable, match="the body is not JSON"):
            read(body)


def test_error_does_not_contain_the_body() -> None:
    with pytest.raises(Unparsable) as caught:
        read_head(b'{"event_id":"e","text":"private words"}')
    assert "private" not in str(caught.value)


# --- properties -----------------------------------------------------------------------------------

tokens = st.text(visible_ascii, min_size=1, max_size=256)


@quick
@given(tokens, tokens, st.dictionaries(st.sampled_from([*OPTIONAL, "data"]) | st.text(), json_values), st.booleans())
def test_any_object_with_id_and_type_is_an_envelope(
    event_id: str,
    event_type: str,
    more: dict[str, Any],
    ascii_only: bool,  # noqa: FBT001
) -> None:
    written = {**more, "event_id": event_id, "event_type": event_type}
    body = json.dumps(written, ensure_ascii=ascii_only).encode()
    head, envelope = read_head(body), read_envelope(body)
    assert (head.event_id, head.event_type) == (envelope.event_id, envelope.event_type) == (event_id, event_type)
    for name in OPTIONAL:
        value = written.get(name)
        assert getattr(envelope, name) == (value if isinstance(value, str) else None)


@quick
@given(st.binary() | st.text().map(str.encode) | json_values.map(json.dumps).map(str.encode))
def test_junk_raises_only_unparsable(body: bytes) -> None:
    for read in (read_head, read_envelope):
        with pytest.raises(Unparsable):
            read(body)


@quick
@given(st.integers(0, len(BODY) - 1), st.integers(0, 255))
def test_corrupted_byte_parses_or_raises_unparsable(position: int, byte: int) -> None:
    body = bytearray(BODY)
    body[position] = byte
    with suppress(Unparsable):
        assert read_envelope(bytes(body)).event_id == read_head(bytes(body)).event_id
