"""The v2 payloads that the sandbox makes, held against what the relay reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relay.core.event import Dialect
from relay.linq.event_types import V2_TYPES
from relay.linq.understanding import understand
from relay.sandbox.payloads import Scene, known_types
from relay.sandbox.payloads_v2 import v2_body, v2_type_of, v2_types
from tests.sandbox.running import LINE

if TYPE_CHECKING:
    from relay.core.event import Event

MOMENT = datetime(2026, 9, 14, 9, 15, 2, tzinfo=UTC)
CUSTOMER = "+13035550188"
SCENE = Scene(line=LINE, customer=CUSTOMER, chat_id="chat-1", message_id="message-1", moment=MOMENT)
SAYS_NO_LINE = {"message.read", "contact.created", "contact.updated", "contact.deleted"}
SAYS_NO_CHAT = {"call.completed", "contact.created", "contact.updated", "contact.deleted"}

every_type = pytest.mark.parametrize("event_type", v2_types())


def event_of(event_type: str, scene: Scene = SCENE) -> Event:
    return understand(Dialect.V2, v2_body(event_type, scene, "e-1", MOMENT), None).event


def test_every_type_of_v2_has_a_payload() -> None:
    assert v2_types() == V2_TYPES
    assert len(V2_TYPES) == 14


@every_type
def test_the_envelope_is_what_v2_sends_around_every_payload(event_type: str) -> None:
    body = json.loads(v2_body(event_type, SCENE, "e-1", MOMENT))
    assert isinstance(body.pop("data"), dict)
    assert body == {
        "api_version": "v2",
        "created_at": "2026-09-14T09:15:02+00:00",
        "event_id": "e-1",
        "event_type": event_type,
    }


@every_type
def test_the_relay_finds_the_line_where_a_payload_names_it_and_never_the_customer(event_type: str) -> None:
    assert event_of(event_type).line == (None if event_type in SAYS_NO_LINE else LINE)


@every_type
def test_the_relay_finds_the_chat_a_number_that_stays_the_same(event_type: str) -> None:
    chat = event_of(event_type).facts.chat
    if event_type in SAYS_NO_CHAT:
        assert chat is None
    else:
        assert chat == event_of("message.sent").facts.chat
        assert str(chat).isdecimal()


def test_messages_and_reactions_say_their_message_and_direction() -> None:
    sent, received = event_of("message.sent").facts, event_of("message.received").facts
    assert (sent.direction, received.direction) == ("outbound", "inbound")
    assert sent.message == received.message == event_of("reaction.received").facts.message
    assert (event_of("reaction.sent").facts.direction, event_of("call.completed").facts.direction) == (
        "outbound",
        "inbound",
    )


@pytest.mark.parametrize("event_type", sorted(set(known_types()) | {"brand.new"}))
def test_what_v3_tells_v2_tells_in_a_type_of_its_own_or_not_at_all(event_type: str) -> None:
    assert v2_type_of(event_type) in {None, *V2_TYPES}


def test_a_type_that_v2_does_not_have_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        v2_body("message.edited", SCENE, "e-1", MOMENT)
