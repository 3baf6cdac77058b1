"""Payloads of v2, and the fields that the relay decodes from them."""

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
from relay.sandbox.payloads import Scenario
from relay.sandbox.payloads.v2 import v2_body, v2_type_of, v2_types
from tests.sandbox.running import LINE

EVENT_ID = "0b5c1d7e-48a2-4f6b-9d30-7e1a2c3b4d5f"
TIME = datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC)
CUSTOMER = "+13035550188"
SCENARIO = Scenario(line=LINE, customer=CUSTOMER, chat_id="chat-1", message_id="message-1", occurred_at=TIME)

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


def data_of_type(event_type: str, scenario: Scenario = SCENARIO) -> Any:
    return json.loads(v2_body(event_type, scenario, EVENT_ID, TIME))


def fields_of(event_type: str, scenario: Scenario = SCENARIO) -> PayloadFields:
    return decode(Dialect.V2, v2_body(event_type, scenario, EVENT_ID, TIME), None).event.fields


def test_types_are_the_14_of_v2() -> None:
    assert v2_types() == V2_TYPES
    assert len(v2_types()) == 14


@every_type
def test_relay_decodes_the_payload_fields(event_type: str) -> None:
    data = data_of_type(event_type)["data"]
    ids = {"message": data.get("chat_message_id") if event_type in REACTIONS else data.get("id")}
    assert fields_of(event_type) == PayloadFields(
        line=LINE if event_type in NAMES_ITS_LINE else None,
        chat=data["chat_id"] if event_type in HAS_CHAT else None,
        message=ids["message"] if event_type in MESSAGES | REACTIONS else None,
        direction=DIRECTIONS.get(event_type),
        service="iMessage" if event_type in HAS_SERVICE else None,
        is_group=False if event_type == "chat.created" else None,
    )


@every_type
def test_envelope_has_the_fields_of_linq(event_type: str) -> None:
    body = data_of_type(event_type)
    assert isinstance(body.pop("data"), dict)
    assert body == {
        "api_version": "v2",
        "created_at": "2026-09-14T03:15:02-06:00",
        "event_id": EVENT_ID,
        "event_type": event_type,
    }


@every_type
def test_body_is_reproducible_canonical_json(event_type: str) -> None:
    body = v2_body(event_type, SCENARIO, EVENT_ID, TIME)
    assert body == json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    assert body == v2_body(event_type, replace(SCENARIO), EVENT_ID, TIME)


def test_text_is_not_escaped() -> None:
    assert "Où ? 👍".encode() in v2_body("message.sent", replace(SCENARIO, text="Où ? 👍"), EVENT_ID, TIME)


def test_ids_are_numeric_strings_except_contacts() -> None:
    for event_type in HAS_CHAT:
        assert re.fullmatch(r"[1-9]\d*", data_of_type(event_type)["data"]["chat_id"])
    for event_type in MESSAGES | {"call.completed"} | REACTIONS:
        assert re.fullmatch(r"[1-9]\d*", data_of_type(event_type)["data"]["id"])
    assert {type(data_of_type(event_type)["data"]["id"]) for event_type in CONTACTS} == {int}


def test_ids_of_chat_message_and_contact_are_stable() -> None:
    assert len({data_of_type(event_type)["data"]["chat_id"] for event_type in HAS_CHAT}) == 1
    assert len({data_of_type(event_type)["data"]["id"] for event_type in MESSAGES}) == 1
    assert len({data_of_type(event_type)["data"]["id"] for event_type in CONTACTS}) == 1
    elsewhere = replace(SCENARIO, chat_id="chat-2", message_id="message-2", customer="+13035550189")
    for event_type, name in (("message.sent", "chat_id"), ("message.sent", "id"), ("contact.created", "id")):
        assert data_of_type(event_type, elsewhere)["data"][name] != data_of_type(event_type)["data"][name]


def test_messages_have_one_shape_in_both_directions() -> None:
    sent, received = data_of_type("message.sent")["data"], data_of_type("message.received")["data"]
    assert (sent.pop("from_phone"), received.pop("from_phone")) == (LINE, CUSTOMER)
    assert sent == received


def test_data_times_have_a_blank_before_the_offset() -> None:
    assert data_of_type("message.sent")["data"]["sent_at"] == "2026-09-14 03:15:02 -0600"
    assert data_of_type("message.read")["data"]["read_at"] == "2026-09-14T03:15:02-06:00"


def test_typing_is_displayed_until_removed() -> None:
    displayed = [data_of_type(f"typing_indicator.{event}")["data"]["display"] for event in ("received", "removed")]
    assert displayed == [True, False]


@pytest.mark.parametrize(("ours", "ends"), [(True, (LINE, CUSTOMER)), (False, (CUSTOMER, LINE))])
def test_call_goes_from_actor_to_other_side(ends: tuple[str, str], *, ours: bool) -> None:
    scenario = replace(SCENARIO, ours=ours)
    data = data_of_type("call.completed", scenario)["data"]
    assert (data["from"], data["to"], data["answered_by"]) == (*ends, ends[1])
    assert fields_of("call.completed", scenario).line == LINE
    assert (data["start_time"], data["end_time"], data["duration"]) == (
        "2026-09-14 03:10:50 -0600",
        "2026-09-14 03:15:02 -0600",
        252,
    )


@every_type
def test_relay_never_mistakes_another_number_for_the_line(event_type: str) -> None:
    scenario = replace(SCENARIO, is_group=True, others=("+15035550177", "ana.ruiz@example.net"))
    assert fields_of(event_type, scenario).line in {LINE, None}


def test_group_has_all_members() -> None:
    scenario = replace(SCENARIO, is_group=True, others=("+15035550177",))
    data = data_of_type("chat.created", scenario)["data"]
    assert (data["is_group"], data["is_direct"]) == (True, False)
    assert {handle["identifier"] for handle in data["chat_handles"]} == {LINE, CUSTOMER, "+15035550177"}


def test_v3_types_map_to_v2_types() -> None:
    event_time = {event_type: v2_type_of(event_type) for event_type in KNOWN_EVENT_TYPES if v2_type_of(event_type)}
    assert event_time == {
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


def test_unknown_v2_type_is_none_or_key_error() -> None:
    assert v2_type_of("message.delivered") is None
    assert v2_type_of("hologram.projected") is None
    with pytest.raises(KeyError):
        v2_body("message.delivered", SCENARIO, EVENT_ID, TIME)
