"""The payloads that the sandbox makes, held against the official SDK's models and against what the relay reads."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import linq.types
import pydantic
import pytest

from relay.core.event import Dialect
from relay.linq.api import KNOWN_EVENT_TYPES
from relay.linq.understanding import understand
from relay.sandbox.payloads import NEW, OLD, Scene, data_of, envelope, known_types
from tests.sandbox.running import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.core.event import Event

EVENT_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"
MOMENT = datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC)
CUSTOMER = "+13035550188"
SCENE = Scene(line=LINE, customer=CUSTOMER, chat_id="chat-1", message_id="message-1", moment=MOMENT)

CALLS = {event_type for event_type in known_types() if event_type.startswith("call.")}
POLLS = {event_type for event_type in known_types() if event_type.startswith("poll.")} - {"poll.reaction.added"}
ABOUT_A_LINE = {
    "phone_number.status_updated",
    "phone_number.assigned",
    "phone_number.released",
    "phone_number.forwarding_updated",
    "environment.line_moved",
    "zero_day_retention.updated",
    "contact_card.received",
    "contact_card.created",
    "contact_card.updated",
    "contact_card.deleted",
}
NAMES_ITS_LINE = (
    CALLS
    | POLLS
    | ABOUT_A_LINE
    | {
        "message.received",
        "message.sent",
        "message.delivered",
        "message.read",
        "message.edited",
        "chat.created",
        "chat.background_updated",
        "location.sharing.started",
        "location.sharing.stopped",
    }
)
"""For every other type the line has to come from the URL."""

DIFFERS_BY_VERSION = {"message.received", "message.sent", "message.delivered", "message.read", "chat.created"}
OUTBOUND = {"message.sent", "message.delivered", "message.read", "message.failed"} | {
    "poll.sent",
    "poll.delivered",
    "poll.read",
    "poll.failed",
}
INBOUND = {"message.received", "message.edited", "reaction.added", "reaction.removed", "poll.reaction.added"} | {
    "poll.received",
    "poll.updated",
    "poll.vote.added",
    "poll.vote.removed",
}
HAS_MESSAGE = OUTBOUND | INBOUND
DIRECTION = {
    **dict.fromkeys(OUTBOUND, "outbound"),
    **dict.fromkeys(INBOUND | CALLS | {"contact_card.received"}, "inbound"),
}
HAS_CHAT = HAS_MESSAGE | {
    event_type for event_type in known_types() if event_type.startswith(("chat.", "participant.", "location."))
}

every_type = pytest.mark.parametrize("event_type", known_types())
every_version = pytest.mark.parametrize("version", [NEW, OLD])


def body_of(event_type: str, version: str, scene: Scene = SCENE) -> bytes:
    return envelope(event_type, EVENT_ID, data_of(event_type, scene, version), version, MOMENT)


def event_of(event_type: str, version: str, scene: Scene = SCENE) -> Event:
    return understand(Dialect.V3, body_of(event_type, version, scene), None).event


def model_of(event_type: str) -> type[pydantic.BaseModel]:
    """The SDK's class for an event type: `message.received` is MessageReceivedWebhookEvent."""
    words = [{"api": "API", "url": "URL"}.get(word, word.capitalize()) for word in re.split(r"[._]", event_type)]
    model: type[pydantic.BaseModel] = getattr(linq.types, f"{''.join(words)}WebhookEvent")
    return model


def unknown_fields(value: object, place: str = "") -> Iterator[str]:
    """The fields below `value` that the SDK's models do not have; they take them, but they are no part of the shape."""
    if isinstance(value, pydantic.BaseModel):
        yield from (f"{place}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, list):
        for position, one in enumerate(value):
            yield from unknown_fields(one, f"{place}[{position}]")


@pytest.mark.parametrize("event_type", sorted(set(known_types()) - CALLS))  # for those the SDK has no model
def test_the_newer_version_is_what_the_sdk_defines(event_type: str) -> None:
    event = model_of(event_type).model_validate_json(body_of(event_type, NEW))
    assert list(unknown_fields(event)) == []


@pytest.mark.parametrize("event_type", sorted(set(known_types()) - DIFFERS_BY_VERSION - CALLS))
def test_most_types_are_the_same_in_both_versions(event_type: str) -> None:
    event = model_of(event_type).model_validate_json(body_of(event_type, OLD))
    assert list(unknown_fields(event)) == []
    old, new = (data_of(event_type, SCENE, version) for version in (OLD, NEW))
    assert {**old, "reaction_id": ""} == {**new, "reaction_id": ""}


@pytest.mark.parametrize("event_type", sorted(DIFFERS_BY_VERSION))
def test_the_older_version_of_some_types_has_a_shape_of_its_own(event_type: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        model_of(event_type).model_validate_json(body_of(event_type, OLD))


@every_type
@every_version
def test_the_relay_finds_the_line_where_a_payload_names_it(event_type: str, version: str) -> None:
    assert event_of(event_type, version).line == (LINE if event_type in NAMES_ITS_LINE else None)


@every_type
@every_version
def test_the_relay_never_takes_the_customer_for_a_line(event_type: str, version: str) -> None:
    assert event_of(event_type, version).line != CUSTOMER


@every_type
@every_version
def test_the_relay_finds_the_chat(event_type: str, version: str) -> None:
    assert event_of(event_type, version).facts.chat == ("chat-1" if event_type in HAS_CHAT else None)


@every_type
@every_version
def test_the_relay_finds_message_and_direction(event_type: str, version: str) -> None:
    facts = event_of(event_type, version).facts
    assert facts.message == ("message-1" if event_type in HAS_MESSAGE else None)
    assert facts.direction == DIRECTION.get(event_type)


@every_version
@pytest.mark.parametrize("service", ["iMessage", "RCS", "SMS"])
@pytest.mark.parametrize("is_group", [True, False])
def test_a_message_says_its_service_and_whether_the_chat_is_a_group(
    version: str, service: str, *, is_group: bool
) -> None:
    scene = Scene(line=LINE, service=service, is_group=is_group)
    facts = event_of("message.received", version, scene).facts
    assert (facts.service, facts.is_group) == (service, is_group)


@every_type
@every_version
def test_the_envelope_is_what_linq_sends_around_every_payload(event_type: str, version: str) -> None:
    body = json.loads(body_of(event_type, version))
    data = body.pop("data")
    assert isinstance(data, dict)
    assert re.fullmatch(r"[0-9a-f]{32}", body.pop("trace_id"))
    assert re.fullmatch(r"2026-09-14T09:15:02\.417203\d{3}Z", body.pop("created_at"))  # nanoseconds, as Linq's can be
    assert body == {
        "api_version": "v3",
        "webhook_version": version,
        "event_type": event_type,
        "event_id": EVENT_ID,
        "partner_id": "prt_sandbox",
    }


def test_an_event_id_need_not_be_a_uuid() -> None:
    body = json.loads(envelope("message.sent", "my-own", {}, NEW, MOMENT))
    assert (body["event_id"], body["created_at"]) == ("my-own", "2026-09-14T09:15:02.417Z")


def test_the_envelope_of_an_event_is_the_same_whenever_it_is_made() -> None:
    assert body_of("message.sent", NEW) == body_of("message.sent", NEW)


@every_version
@pytest.mark.parametrize(
    ("event_type", "is_delivered", "is_read"),
    [
        ("message.received", False, False),
        ("message.sent", False, False),
        ("message.delivered", True, False),
        ("message.read", True, True),
    ],
)
def test_receipts_have_the_times_of_what_they_tell(
    version: str, event_type: str, *, is_delivered: bool, is_read: bool
) -> None:
    data = data_of(event_type, SCENE, version)
    message: dict[str, Any] = data if version == NEW else data["message"]
    assert (message["sent_at"] is not None, message["delivered_at"] is not None, message["read_at"] is not None) == (
        True,
        is_delivered,
        is_read,
    )


def test_the_next_message_is_another_one_in_the_same_chat() -> None:
    answer = SCENE.next_message("Yes, booked.", "another")
    assert (answer.chat_id, answer.line, answer.customer, answer.text) == (
        SCENE.chat_id,
        LINE,
        CUSTOMER,
        "Yes, booked.",
    )
    assert answer.message_id != SCENE.message_id


def test_a_type_without_payload_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        data_of("brand.new", SCENE, NEW)


def test_every_type_of_linqs_has_a_payload() -> None:
    assert set(known_types()) == set(KNOWN_EVENT_TYPES)
