"""The shard key is in every body, is the same in each copy of an event, and has the chat that the router finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core.errors import Unparsable
from relay.core.event import Dialect, VerifiedWebhook
from relay.core.sharding.placement import ShardKey
from relay.linq.payloads.fields import payload_fields
from relay.linq.payloads.shard_key import read_head, shard_key_in, shard_key_of
from tests.building import LINE
from tests.linq.payloads.test_fields_of_samples import EXPECTED_FIELDS, SAMPLES
from tests.linq.sdk_payloads import EVENT_TYPES
from tests.linq.sdk_strategies import bodies
from tests.properties import any_text, json_values, quick

if TYPE_CHECKING:
    from collections.abc import Callable

few = settings(quick, max_examples=10)  # of each of 68 types
ids = st.none() | any_text | st.integers() | json_values


def reversed_in(value: Any) -> Any:
    """Return `value` with the fields of all its objects in the other order."""
    if isinstance(value, dict):
        return {name: reversed_in(value[name]) for name in reversed(value)}
    return [reversed_in(each) for each in value] if isinstance(value, list) else value


REWRITTEN: dict[str, Callable[[Any], str]] = {
    "indented": lambda envelope: json.dumps(envelope, indent=4),
    "compact": lambda envelope: json.dumps(envelope, separators=(",", ":"), ensure_ascii=False),
    "reordered": lambda envelope: json.dumps(reversed_in(envelope)),
    "later": lambda envelope: json.dumps({**envelope, "created_at": "2031-01-01T00:00:00Z", "attempt": 7}),
    "escaped": lambda envelope: json.dumps(envelope).replace("-", "\\u002d"),
    "with half a character": lambda envelope: json.dumps({**envelope, "new": "\ud800"}),  # read by the slow parser
}


@pytest.mark.parametrize("name", EXPECTED_FIELDS)
def test_key_of_a_sample_is_its_chat_or_its_number_or_its_id(name: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    envelope = json.loads(body)
    key = shard_key_in(Dialect(envelope["api_version"]), body)
    assert key == ShardKey(envelope["event_id"], EXPECTED_FIELDS[name].chat, envelope["data"].get("phone_number"))


@pytest.mark.parametrize("name", EXPECTED_FIELDS)
@pytest.mark.parametrize("how", REWRITTEN)
def test_retry_that_is_written_anew_has_the_same_key(name: str, how: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    envelope = json.loads(body)
    dialect = Dialect(envelope["api_version"])
    assert shard_key_in(dialect, REWRITTEN[how](envelope).encode()) == shard_key_in(dialect, body)


def test_some_events_of_a_chat_have_no_line() -> None:
    """So a line cannot be what keeps the events of a chat together."""
    assert [name for name, fields in EXPECTED_FIELDS.items() if fields.chat and not fields.line]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_chat_is_the_one_that_the_router_finds(event_type: str) -> None:
    @few
    @given(bodies(event_type, "2026-02-03"))
    def check(body: dict[str, Any]) -> None:
        agrees(Dialect.V3, {**body, "event_id": "e1"})

    check()


@quick
@given(st.sampled_from(Dialect), st.sampled_from(["message.sent", "chat.created", "x"]), ids, ids, ids, ids)
def test_chat_is_the_one_that_the_router_finds_in_whatever_comes(
    dialect: Dialect, event_type: str, chat: Any, in_chat: Any, chat_id: Any, own_id: Any
) -> None:
    for of in ({"id": in_chat}, chat):
        data = {"chat": of, "chat_id": chat_id, "id": own_id}
        agrees(dialect, {"event_id": "e1", "event_type": event_type, "data": data})


def agrees(dialect: Dialect, envelope: dict[str, Any]) -> None:
    """Assert that the chat of the key is that of the event."""
    body = json.dumps(envelope).encode()
    found = payload_fields(dialect, envelope["event_type"], json.loads(body)["data"])
    assert shard_key_in(dialect, body).chat == found.chat


@pytest.mark.parametrize(
    "data", [{}, None, [], "text", 7, {"chat": None}, {"chat_id": True}, {"phone_number": 16465550123}]
)
def test_event_without_either_has_its_id(data: Any) -> None:
    for dialect in Dialect:
        body = json.dumps({"event_id": "e1", "event_type": "x", "data": data}).encode()
        assert str(shard_key_in(dialect, body)) == "e1"
    assert str(shard_key_in(Dialect.V3, b'{"event_id": "e1", "event_type": "x"}')) == "e1"


@pytest.mark.parametrize("name", EXPECTED_FIELDS)
def test_key_of_a_webhook_is_that_of_its_body_whether_or_not_it_was_read_with_the_head(name: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    dialect = Dialect(json.loads(body)["api_version"])
    head = read_head(body)
    webhook = VerifiedWebhook(head.event_id, head.event_type, dialect, head.event_id, LINE, body)
    keys = {shard_key_of(webhook), shard_key_of(webhook._replace(keyed=head.data)), shard_key_in(dialect, body)}
    assert len(keys) == 1


def test_number_comes_before_the_id() -> None:
    body = json.dumps({"event_id": "e1", "event_type": "phone_number.assigned", "data": {"phone_number": LINE}})
    assert str(shard_key_in(Dialect.V3, body.encode())) == LINE


def test_body_that_is_no_envelope_has_none() -> None:
    with pytest.raises(Unparsable):
        shard_key_in(Dialect.V3, b'{"event_type": "x", "data": {"chat_id": "C"}}')
