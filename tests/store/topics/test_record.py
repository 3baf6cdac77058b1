from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Dialect, Freshness
from relay.linq.payloads.decode import decode
from relay.store.topics.record import Proof, fields_of, origin_of, record_of
from tests.building import LINE, body_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def as_redis_gives(fields: list[bytes | str | int]) -> Mapping[bytes, bytes]:
    flat = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_every_topic_entry_has_the_documented_fields() -> None:
    body = body_of("chat.typing_indicator.started", "e1")
    event = decode(Dialect.V3, body, None).event
    fields = as_redis_gives(fields_of(event, 17, "e1", body))
    assert {b"id", b"type", b"line", b"chat", b"at", b"version", b"body"} <= set(fields)
    assert fields[b"line"] == b""
    assert b"webhook_id" not in fields
    assert b"freshness" not in fields


def test_record_has_the_fields_of_the_event() -> None:
    body = body_of(
        "message.received",
        "e1",
        chat={"id": "c1", "is_group": True},
        id="m1",
        direction="inbound",
        service="RCS",
        reconciled_at="2026-09-14T09:15:02Z",
    )
    event = decode(Dialect.V3, body, LINE).event
    record = record_of(b"5-0", as_redis_gives(fields_of(event, 17, "another-id", body)))
    assert (record.entry, record.id, record.type, record.line, record.chat) == (
        "5-0",
        "e1",
        "message.received",
        LINE,
        "c1",
    )
    assert (record.at, record.version, record.body, record.webhook_id) == (17, "2026-02-03", body, "another-id")
    assert (record.message, record.direction, record.service, record.is_group) == ("m1", "inbound", "RCS", True)
    assert (record.created, record.freshness) == ("2026-09-14T09:15:02.417203911Z", Freshness.HISTORY)
    assert record.json()["data"]["id"] == "m1"


def test_unknown_fields_are_ignored() -> None:
    record = record_of(b"5-0", {b"id": b"e1", b"body": b"{}", b"later": b"x"})
    assert (record.id, record.line, record.webhook_id, record.is_group) == ("e1", None, "e1", None)


def test_origin_is_read_back_and_none_for_entries_without_it() -> None:
    event = decode(Dialect.V3, body_of(), LINE).event
    fields = as_redis_gives(fields_of(event, 17, "e1", b"", b"url 2 203.0.113.7"))
    assert origin_of(fields) == (Proof.URL, 2, "203.0.113.7")
    assert origin_of({b"via": b"none -1 -"}) == (Proof.NONE, -1, None)
    assert [origin_of({b"via": text}) for text in (b"", b"url", b"url x -", b"else 1 -", b"\xff 1 -")] == [None] * 5
    assert origin_of(as_redis_gives(fields_of(event, 17, "e1", b""))) is None
