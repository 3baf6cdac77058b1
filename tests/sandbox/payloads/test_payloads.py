"""Payloads of v3, compared with the models of the official SDK and with the decoder of the relay."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pydantic
import pytest

from relay.core.event import Dialect, PayloadFields
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.payloads.decode import decode
from relay.sandbox.events.event import v3_event_of
from relay.sandbox.payloads import NEW, OLD, Scenario, data_of, envelope, exists_in, known_types
from tests.linq.sdk_payloads import EVENT_TYPES, class_of
from tests.sandbox.running import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.core.event import Event

EVENT_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"
TIME = datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC)
CUSTOMER = "+13035550188"
SCENARIO = Scenario(line=LINE, customer=CUSTOMER, chat_id="chat-1", message_id="message-1", occurred_at=TIME)

LIVE_MESSAGES = {"message.sent", "message.received", "message.delivered", "message.read"}
"""Types with a shape for each version, which can also be recovered later."""

REACTIONS = {"reaction.added", "reaction.removed", "poll.reaction.added"}
VOTES = {"poll.vote.added", "poll.vote.removed"}
RECEIPTS_OF_POLLS = {"poll.sent", "poll.delivered", "poll.read"}
POLLS = {"poll.received", "poll.failed", "poll.updated", *RECEIPTS_OF_POLLS, *VOTES}
SERVICE_CHANGES = {"chat.group_name_updated", "chat.group_icon_updated", "participant.added", "participant.removed"}
CALLS = {event_type for event_type in KNOWN_EVENT_TYPES if event_type.startswith("call.")}

HAS_LINE = {
    *(LIVE_MESSAGES | POLLS | CALLS),
    *("message.edited", "chat.created", "chat.background_updated", "contact_card.received"),
    *("phone_number.status_updated", "phone_number.assigned", "phone_number.released"),
    *("location.sharing.started", "location.sharing.stopped"),
    *("zero_day_retention.updated", "phone_number.forwarding_updated", "environment.line_moved"),
    *("contact_card.created", "contact_card.updated", "contact_card.deleted"),
}
"""Types with the line in the payload; for every other type, it comes from the URL."""

HAS_LINE_IF_ACTOR = HAS_LINE | REACTIONS | SERVICE_CHANGES

HAS_NO_CHAT = {
    event_type
    for event_type in KNOWN_EVENT_TYPES
    if not event_type.startswith(("message.", "reaction.", "poll.", "participant.", "chat.", "location."))
}
OUTBOUND = {"message.sent", "message.delivered", "message.read", "message.failed", "poll.failed", *RECEIPTS_OF_POLLS}
INBOUND = {"message.received", "poll.received", "contact_card.received"}
EITHER_WAY = {"message.edited", "poll.updated", *REACTIONS, *VOTES, *CALLS}
HAS_MESSAGE = {
    event_type for event_type in KNOWN_EVENT_TYPES if event_type.startswith(("message.", "reaction.", "poll."))
}
HAS_SERVICE = HAS_MESSAGE | SERVICE_CHANGES | {"chat.created", "chat.background_updated"}
HAS_IS_GROUP = LIVE_MESSAGES | POLLS | {"message.edited", "chat.created", "chat.background_updated"}

# Tests of every type are loops, whose comparison shows each type that differs: a thousand tests take five seconds more.
every_version = pytest.mark.parametrize("version", [NEW, OLD])


def body_of(event_type: str, version: str, scenario: Scenario = SCENARIO) -> bytes:
    return v3_event_of(event_type, EVENT_ID, TIME, scenario).content(version, None).body


def event_of(event_type: str, version: str, scenario: Scenario = SCENARIO) -> Event:
    return decode(Dialect.V3, body_of(event_type, version, scenario), None).event


def unknown_fields(value: object, place: str = "") -> Iterator[str]:
    """Yield the fields below `value` that the models of the SDK accept but do not define."""
    if isinstance(value, pydantic.BaseModel):
        yield from (f"{place}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from unknown_fields(item, f"{place}[{position}]")


def differences_from_the_sdk(event_type: str, scenario: Scenario) -> list[str]:
    """Return what the SDK refuses in an event of the newer version, or does not know."""
    body = v3_event_of(event_type, EVENT_ID, TIME, scenario).content(NEW, TIME).body
    try:
        return list(unknown_fields(class_of(event_type).model_validate_json(body, strict=True)))
    except pydantic.ValidationError as error:
        return [str(error)]


def expected_fields(event_type: str, scenario: Scenario) -> PayloadFields:
    acting = "outbound" if scenario.ours else "inbound"
    directions = {
        **dict.fromkeys(OUTBOUND, "outbound"),
        **dict.fromkeys(INBOUND, "inbound"),
        **dict.fromkeys(EITHER_WAY, acting),
    }
    return PayloadFields(
        line=LINE if event_type in (HAS_LINE_IF_ACTOR if scenario.ours else HAS_LINE) else None,
        chat=None if event_type in HAS_NO_CHAT else "chat-1",
        message="message-1" if event_type in HAS_MESSAGE else None,
        direction=directions.get(event_type),
        service="iMessage" if event_type in HAS_SERVICE else None,
        is_group=False if event_type in HAS_IS_GROUP else None,
    )


def test_every_subscribable_type_has_a_payload() -> None:
    assert sorted(known_types()) == sorted(KNOWN_EVENT_TYPES)


@pytest.mark.parametrize("ours", [True, False])
def test_newer_version_matches_the_sdk(*, ours: bool) -> None:
    scenario = replace(SCENARIO, ours=ours)
    differences = {event_type: differences_from_the_sdk(event_type, scenario) for event_type in EVENT_TYPES}
    assert {event_type: found for event_type, found in differences.items() if found} == {}


def test_most_types_are_equal_in_both_versions() -> None:
    most = sorted(set(known_types()) - LIVE_MESSAGES - {"chat.created"})
    older, newer = ({each: data_of(each, SCENARIO, version) for each in most} for version in (OLD, NEW))
    assert older == newer


def test_chat_health_is_in_newer_version_only() -> None:
    health = {"health_status": SCENARIO.health}
    assert {**data_of("chat.created", SCENARIO, OLD), **health} == data_of("chat.created", SCENARIO, NEW)


@pytest.mark.parametrize("event_type", sorted(LIVE_MESSAGES))
def test_older_messages_have_their_own_shape(event_type: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        class_of(event_type).model_validate_json(body_of(event_type, OLD))


@pytest.mark.parametrize(
    ("event_type", "more"),
    [
        ("message.received", set()),
        ("message.sent", set()),
        ("message.delivered", {"message_id", "delivered_at"}),
        ("message.read", {"message_id", "read_at"}),
    ],
)
def test_older_receipts_name_their_message(event_type: str, more: set[str]) -> None:
    data = data_of(event_type, SCENARIO, OLD)
    assert set(data) - set(data_of("message.sent", SCENARIO, OLD)) == more
    assert (data["message"]["is_delivered"], data["message"]["is_read"]) == (
        event_type in {"message.delivered", "message.read"},
        event_type == "message.read",
    )


def test_only_edits_are_missing_in_older_version() -> None:
    assert [event_type for event_type in known_types() if not exists_in(event_type, OLD)] == ["message.edited"]
    assert all(exists_in(event_type, NEW) for event_type in known_types())


@every_version
@pytest.mark.parametrize("ours", [True, False])
def test_relay_decodes_the_payload_fields(version: str, *, ours: bool) -> None:
    scenario = replace(SCENARIO, ours=ours)
    events = {event_type: event_of(event_type, version, scenario) for event_type in known_types()}
    assert {each: (event.type, event.version, event.fields) for each, event in events.items()} == {
        each: (each, version, expected_fields(each, scenario)) for each in events
    }


@pytest.mark.parametrize("ours", [True, False])
def test_relay_never_mistakes_another_number_for_the_line(*, ours: bool) -> None:
    members = ("+15035550177", "ana.ruiz@example.net")
    scenario = replace(SCENARIO, is_group=True, others=members, ours=ours)
    lines = {event_type: event_of(event_type, NEW, scenario).line for event_type in known_types()}
    assert {event_type: line for event_type, line in lines.items() if line not in {LINE, None}} == {}


@every_version
@pytest.mark.parametrize("service", ["iMessage", "RCS", "SMS"])
@pytest.mark.parametrize("is_group", [True, False])
def test_message_has_service_and_is_group(version: str, service: str, *, is_group: bool) -> None:
    scenario = Scenario(line=LINE, service=service, is_group=is_group)
    fields = event_of("message.received", version, scenario).fields
    assert (fields.service, fields.is_group) == (service, is_group)


@every_version
def test_recovered_message_has_reconciled_at_in_each_version(version: str) -> None:
    found = {}
    for event_type in known_types():
        late = v3_event_of(event_type, EVENT_ID, TIME, SCENARIO).content(version, TIME + timedelta(hours=3)).body
        data = json.loads(late)["data"]
        if event_type in LIVE_MESSAGES:
            del (data if version == NEW else data["message"])["reconciled_at"]
        found[event_type] = (decode(Dialect.V3, late, None).event.fields.reconciled_at, data)
    assert found == {
        event_type: (
            "2026-09-14T12:15:02.417Z" if event_type in LIVE_MESSAGES else None,
            data_of(event_type, SCENARIO, version),
        )
        for event_type in known_types()
    }


@every_version
def test_envelope_has_the_fields_of_linq(version: str) -> None:
    bodies = {event_type: json.loads(body_of(event_type, version)) for event_type in known_types()}
    for event_type, body in bodies.items():
        assert isinstance(body.pop("data"), dict), event_type
        assert re.fullmatch(r"[0-9a-f]{32}", body.pop("trace_id")), event_type
        created_at = body.pop("created_at")  # nanoseconds, as Linq can send
        assert re.fullmatch(r"2026-09-14T09:15:02\.417203\d{3}Z", created_at), event_type
    assert bodies == {
        event_type: {
            "api_version": "v3",
            "webhook_version": version,
            "event_type": event_type,
            "event_id": EVENT_ID,
            "partner_id": "prt_sandbox",
        }
        for event_type in known_types()
    }


def test_event_id_can_be_any_string() -> None:
    body = json.loads(envelope("message.sent", "my-own", {}, NEW, TIME))
    assert (body["event_id"], body["created_at"]) == ("my-own", "2026-09-14T09:15:02.417Z")


def test_same_scenario_makes_the_same_payload() -> None:
    first, second = ({each: body_of(each, NEW, replace(SCENARIO)) for each in known_types()} for _ in range(2))
    assert first == second


def test_type_without_payload_raises_key_error() -> None:
    with pytest.raises(KeyError):
        data_of("hologram.projected", SCENARIO, NEW)
