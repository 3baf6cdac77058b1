"""The v2 payloads that the sandbox makes, and what the relay reads in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.core.event import Dialect, PayloadFields
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.payloads.decode import decode
from relay.linq.payloads.event_types import V2_TYPES
from relay.sandbox.payloads import Scene
from relay.sandbox.payloads.v2 import v2_body, v2_type_of, v2_types
from tests.sandbox.running import LINE

EVENT_ID = "0b5c1d7e-48a2-4f6b-9d30-7e1a2c3b4d5f"
MOMENT = datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC)
CUSTOMER = "+13035550188"
SCENE = Scene(line=LINE, customer=CUSTOMER, chat_id="chat-1", message_id="message-1", moment=MOMENT)

CONTACTS = {"contact.created", "contact.updated", "contact.deleted"}
REACTIONS = {"reaction.sent", "reaction.received"}
NAMES_ITS_LINE = set(V2_TYPES) - CONTACTS - {"message.read"}
HAS_CHAT = set(V2_TYPES) - CONTACTS - {"call.completed"}
MESSAGES = {"message.sent", "message.received", "message.read"}
HAS_SERVICE = {"message.sent", "message.received", "chat.created"}
DIRECTIONS = {
    "message.sent": "outbound",
    "message.received": "inbound",
    "reaction.sent": "outbound",
    "reaction.received": "inbound",
    "call.completed": "inbound",
}

every_type = pytest.mark.parametrize("event_type", v2_types())


def made(event_type: str, scene: Scene = SCENE) -> Any:
    return json.loads(v2_body(event_type, scene, EVENT_ID, MOMENT))


def facts_of(event_type: str, scene: Scene = SCENE) -> PayloadFields:
    return decode(Dialect.V2, v2_body(event_type, scene, EVENT_ID, MOMENT), None).event.fields


def test_the_types_are_the_14_of_v2() -> None:
    assert v2_types() == V2_TYPES
    assert len(v2_types()) == 14


@every_type
def test_the_relay_understands_who_did_what_where(event_type: str) -> None:
    data = made(event_type)["data"]
    ids = {"message": data.get("chat_message_id") if event_type in REACTIONS else data.get("id")}
    assert facts_of(event_type) == PayloadFields(
        line=LINE if event_type in NAMES_ITS_LINE else None,
        chat=data["chat_id"] if event_type in HAS_CHAT else None,
        message=ids["message"] if event_type in MESSAGES | REACTIONS else None,
        direction=DIRECTIONS.get(event_type),
        service="iMessage" if event_type in HAS_SERVICE else None,
        is_group=False if event_type == "chat.created" else None,
    )


@every_type
def test_the_envelope_is_what_linq_sends_around_every_payload(event_type: str) -> None:
    body = made(event_type)
    assert isinstance(body.pop("data"), dict)
    assert body == {
        "api_version": "v2",
        "created_at": "2026-09-14T03:15:02-06:00",
        "event_id": EVENT_ID,
        "event_type": event_type,
    }


@every_type
def test_a_body_is_canonical_json_that_is_the_same_every_time(event_type: str) -> None:
    body = v2_body(event_type, SCENE, EVENT_ID, MOMENT)
    assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    assert body == v2_body(event_type, replace(SCENE), EVENT_ID, MOMENT)


def test_text_stands_in_a_body_as_it_is() -> None:
    assert "Où ? 👍".encode() in v2_body("message.sent", replace(SCENE, text="Où ? 👍"), EVENT_ID, MOMENT)


def test_ids_are_numbers_as_text_and_those_of_contacts_are_integers() -> None:
    for event_type in HAS_CHAT:
        assert re.fullmatch(r"[1-9]\d*", made(event_type)["data"]["chat_id"])
    for event_type in MESSAGES | {"call.completed"} | REACTIONS:
        assert re.fullmatch(r"[1-9]\d*", made(event_type)["data"]["id"])
    assert {type(made(event_type)["data"]["id"]) for event_type in CONTACTS} == {int}


def test_a_chat_a_message_and_a_contact_keep_their_ids() -> None:
    assert len({made(event_type)["data"]["chat_id"] for event_type in HAS_CHAT}) == 1
    assert len({made(event_type)["data"]["id"] for event_type in MESSAGES}) == 1
    assert len({made(event_type)["data"]["id"] for event_type in CONTACTS}) == 1
    elsewhere = replace(SCENE, chat_id="chat-2", message_id="message-2", customer="+13035550189")
    for event_type, name in (("message.sent", "chat_id"), ("message.sent", "id"), ("contact.created", "id")):
        assert made(event_type, elsewhere)["data"][name] != made(event_type)["data"][name]


def test_messages_are_told_alike_whichever_way_they_go() -> None:
    sent, received = made("message.sent")["data"], made("message.received")["data"]
    assert (sent.pop("from_phone"), received.pop("from_phone")) == (LINE, CUSTOMER)
    assert sent == received


def test_times_inside_have_a_blank_before_the_offset() -> None:
    assert made("message.sent")["data"]["sent_at"] == "2026-09-14 03:15:02 -0600"
    assert made("message.read")["data"]["read_at"] == "2026-09-14T03:15:02-06:00"


def test_typing_is_shown_until_it_is_removed() -> None:
    shown = [made(f"typing_indicator.{what}")["data"]["display"] for what in ("received", "removed")]
    assert shown == [True, False]


@pytest.mark.parametrize(("ours", "ends"), [(True, (LINE, CUSTOMER)), (False, (CUSTOMER, LINE))])
def test_a_call_goes_from_who_calls_to_the_other_side(ends: tuple[str, str], *, ours: bool) -> None:
    scene = replace(SCENE, ours=ours)
    data = made("call.completed", scene)["data"]
    assert (data["from"], data["to"], data["answered_by"]) == (*ends, ends[1])
    assert facts_of("call.completed", scene).line == LINE
    assert (data["start_time"], data["end_time"], data["duration"]) == (
        "2026-09-14 03:10:50 -0600",
        "2026-09-14 03:15:02 -0600",
        252,
    )


@every_type
def test_the_relay_never_takes_a_number_that_is_not_the_lines_for_it(event_type: str) -> None:
    scene = replace(SCENE, is_group=True, others=("+15035550177", "ana.ruiz@example.net"))
    assert facts_of(event_type, scene).line in {LINE, None}


def test_a_group_names_all_its_members() -> None:
    scene = replace(SCENE, is_group=True, others=("+15035550177",))
    data = made("chat.created", scene)["data"]
    assert (data["is_group"], data["is_direct"]) == (True, False)
    assert {one["identifier"] for one in data["chat_handles"]} == {LINE, CUSTOMER, "+15035550177"}


def test_what_v3_tells_is_told_by_v2_where_it_has_a_type_for_it() -> None:
    told = {event_type: v2_type_of(event_type) for event_type in KNOWN_EVENT_TYPES if v2_type_of(event_type)}
    assert told == {
        "message.sent": "message.sent",
        "message.received": "message.received",
        "message.read": "message.read",
        "call.ended": "call.completed",
        "reaction.added": "reaction.received",
        "chat.typing_indicator.started": "typing_indicator.received",
        "chat.typing_indicator.stopped": "typing_indicator.removed",
        "chat.created": "chat.created",
        "participant.added": "participant.added",
        "participant.removed": "participant.removed",
    }


def test_a_type_that_v2_does_not_have_is_none_or_a_key_error() -> None:
    assert v2_type_of("message.delivered") is None
    assert v2_type_of("hologram.projected") is None
    with pytest.raises(KeyError):
        v2_body("message.delivered", SCENE, EVENT_ID, MOMENT)
