from __future__ import annotations

import json

import pytest

from relay.core.errors import Unparsable
from relay.core.event import Dialect, Event, PayloadFields
from relay.linq.payloads.decode import Decoded, decode
from tests.building import LINE, OTHER_LINE
from tests.linq.building import BODY, EVENT_ID, V2_BODY, body_of

ABOUT_LINE = body_of("phone_number.assigned", {"phone_number": LINE})
ABOUT_NONE = body_of("chat.typing_indicator.started", {"chat_id": "C"})


def test_event_has_envelope_and_payload_fields() -> None:
    assert decode(Dialect.V3, BODY, LINE) == Decoded(
        Event(
            id=EVENT_ID,
            type="chat.typing_indicator.started",
            version="2026-02-03",
            line=LINE,
            fields=PayloadFields(chat="5d1c7e0a-3b52-4c8e-9a41-0f6b7d2e8c11"),
            created_at="2026-09-14T09:15:02Z",
            trace_id="6b1f0c9d2a7e4583b0d4e1f29a8c7d35",
        ),
        line_disputed=False,
    )


def test_v2_event_is_parsed_as_v2() -> None:
    event = decode(Dialect.V2, V2_BODY, None).event
    assert (event.version, event.line, event.fields) == ("v2", None, PayloadFields(chat="11111", message="12345"))


@pytest.mark.parametrize(
    ("proved", "body", "line", "disputed"),
    [
        (LINE, ABOUT_LINE, LINE, False),
        (None, ABOUT_LINE, LINE, False),
        (OTHER_LINE, ABOUT_LINE, OTHER_LINE, True),
        (OTHER_LINE, ABOUT_NONE, OTHER_LINE, False),
        (None, ABOUT_NONE, None, False),
    ],
)
def test_url_line_wins_over_the_payload_line(
    proved: str | None,
    body: bytes,
    line: str | None,
    disputed: bool,  # noqa: FBT001
) -> None:
    decoded = decode(Dialect.V3, body, proved)
    assert (decoded.event.line, decoded.line_disputed) == (line, disputed)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"event_id":"e"}'])
def test_invalid_envelope_is_unparsable(body: bytes) -> None:
    with pytest.raises(Unparsable):
        decode(Dialect.V3, body, LINE)


HALF = "\ud83d"  # a lone surrogate: JSON can encode it, UTF-8 cannot


@pytest.mark.parametrize(
    "envelope",
    [
        {"created_at": HALF},
        {"trace_id": HALF},
        {"webhook_version": HALF},
        {"data": {"chat_id": HALF}},
        {"data": {"id": HALF}},
        {"data": {"service": HALF}},
    ],
    ids=["created_at", "trace_id", "webhook_version", "chat", "message", "service"],
)
def test_all_event_text_can_be_stored(envelope: dict[str, object]) -> None:
    body = json.dumps({"event_id": "e", "event_type": "message.sent", **envelope}).encode()
    event = decode(Dialect.V3, body, LINE).event
    for value in (*event.fields, event.created_at, event.trace_id, event.version):
        str(value).encode()
