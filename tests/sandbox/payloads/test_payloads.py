"""The v3 payloads that the sandbox makes, held against the official SDK's models and against what the relay reads."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from relay.core.event import Dialect, PayloadFields
from relay.linq.api.v3 import KNOWN_EVENT_TYPES
from relay.linq.payloads.decode import decode
from relay.sandbox.events.event import telling_of
from relay.sandbox.payloads import NEW, OLD, Scene, data_of, envelope, exists_in, known_types
from relay.sandbox.payloads.messages import FAILURES
from tests.linq.sdk_payloads import EVENT_TYPES, class_of
from tests.sandbox.running import LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.core.event import Event

EVENT_ID = "7a5b1f0e-9c34-4d27-8b61-3e5f2a9d0c71"
MOMENT = datetime(2026, 9, 14, 9, 15, 2, 417_203, tzinfo=UTC)
CUSTOMER = "+13035550188"
SCENE = Scene(line=LINE, customer=CUSTOMER, chat_id="chat-1", message_id="message-1", moment=MOMENT)

LIVE_MESSAGES = {"message.sent", "message.received", "message.delivered", "message.read"}
"""The types whose shape depends on the version, and which can be recovered later."""

REACTIONS = {"reaction.added", "reaction.removed", "poll.reaction.added"}
VOTES = {"poll.vote.added", "poll.vote.removed"}
RECEIPTS_OF_POLLS = {"poll.sent", "poll.delivered", "poll.read"}
POLLS = {"poll.received", "poll.failed", "poll.updated", *RECEIPTS_OF_POLLS, *VOTES}
SERVICE_CHANGES = {"chat.group_name_updated", "chat.group_icon_updated", "participant.added", "participant.removed"}
CALLS = {event_type for event_type in KNOWN_EVENT_TYPES if event_type.startswith("call.")}

NAMES_ITS_LINE = {
    *(LIVE_MESSAGES | POLLS | CALLS),
    *("message.edited", "chat.created", "chat.background_updated", "contact_card.received"),
    *("phone_number.status_updated", "phone_number.assigned", "phone_number.released"),
    *("location.sharing.started", "location.sharing.stopped"),
    *("zero_day_retention.updated", "phone_number.forwarding_updated", "environment.line_moved"),
    *("contact_card.created", "contact_card.updated", "contact_card.deleted"),
}
"""For every other type the line has to come from the URL."""

NAMES_ITS_LINE_WHEN_IT_ACTS = NAMES_ITS_LINE | REACTIONS | SERVICE_CHANGES

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
SAYS_WHETHER_IT_IS_A_GROUP = LIVE_MESSAGES | POLLS | {"message.edited", "chat.created", "chat.background_updated"}

every_type = pytest.mark.parametrize("event_type", known_types())
every_version = pytest.mark.parametrize("version", [NEW, OLD])


def body_of(event_type: str, version: str, scene: Scene = SCENE) -> bytes:
    return telling_of(event_type, EVENT_ID, MOMENT, scene).content(version, None).body


def event_of(event_type: str, version: str, scene: Scene = SCENE) -> Event:
    return decode(Dialect.V3, body_of(event_type, version, scene), None).event


def unknown_fields(value: object, place: str = "") -> Iterator[str]:
    """The fields below `value` that the SDK's models do not have; they take them, but they are no part of the shape."""
    if isinstance(value, pydantic.BaseModel):
        yield from (f"{place}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{place}.{name}")
    elif isinstance(value, list):
        for position, one in enumerate(value):
            yield from unknown_fields(one, f"{place}[{position}]")


def expected_facts(event_type: str, scene: Scene) -> PayloadFields:
    acting = "outbound" if scene.ours else "inbound"
    directions = {
        **dict.fromkeys(OUTBOUND, "outbound"),
        **dict.fromkeys(INBOUND, "inbound"),
        **dict.fromkeys(EITHER_WAY, acting),
    }
    return PayloadFields(
        line=LINE if event_type in (NAMES_ITS_LINE_WHEN_IT_ACTS if scene.ours else NAMES_ITS_LINE) else None,
        chat=None if event_type in HAS_NO_CHAT else "chat-1",
        message="message-1" if event_type in HAS_MESSAGE else None,
        direction=directions.get(event_type),
        service="iMessage" if event_type in HAS_SERVICE else None,
        is_group=False if event_type in SAYS_WHETHER_IT_IS_A_GROUP else None,
    )


def test_there_is_a_payload_for_every_type_that_can_be_subscribed_to() -> None:
    assert sorted(known_types()) == sorted(KNOWN_EVENT_TYPES)


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_newer_version_is_what_the_sdk_defines(event_type: str, *, ours: bool) -> None:
    body = telling_of(event_type, EVENT_ID, MOMENT, replace(SCENE, ours=ours)).content(NEW, MOMENT).body
    event = class_of(event_type).model_validate_json(body, strict=True)
    assert list(unknown_fields(event)) == []


@pytest.mark.parametrize("event_type", sorted(set(known_types()) - LIVE_MESSAGES - {"chat.created"}))
def test_most_types_are_the_same_in_both_versions(event_type: str) -> None:
    assert data_of(event_type, SCENE, OLD) == data_of(event_type, SCENE, NEW)


def test_a_created_chat_says_its_health_in_the_newer_version_only() -> None:
    health = {"health_status": SCENE.health}
    assert {**data_of("chat.created", SCENE, OLD), **health} == data_of("chat.created", SCENE, NEW)


@pytest.mark.parametrize("event_type", sorted(LIVE_MESSAGES))
def test_messages_of_the_older_version_have_a_shape_of_their_own(event_type: str) -> None:
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
def test_receipts_of_the_older_version_say_what_they_are_the_receipt_of(event_type: str, more: set[str]) -> None:
    data = data_of(event_type, SCENE, OLD)
    assert set(data) - set(data_of("message.sent", SCENE, OLD)) == more
    assert (data["message"]["is_delivered"], data["message"]["is_read"]) == (
        event_type in {"message.delivered", "message.read"},
        event_type == "message.read",
    )


def test_only_edits_are_missing_from_the_older_version() -> None:
    assert [one for one in known_types() if not exists_in(one, OLD)] == ["message.edited"]
    assert all(exists_in(one, NEW) for one in known_types())


@every_type
@every_version
@pytest.mark.parametrize("ours", [True, False])
def test_the_relay_understands_who_did_what_where(event_type: str, version: str, *, ours: bool) -> None:
    scene = replace(SCENE, ours=ours)
    event = event_of(event_type, version, scene)
    assert (event.type, event.version) == (event_type, version)
    assert event.fields == expected_facts(event_type, scene)


@every_type
def test_the_relay_never_takes_a_number_that_is_not_the_lines_for_it(event_type: str) -> None:
    members = ("+15035550177", "ana.ruiz@example.net")
    for ours in (True, False):
        scene = replace(SCENE, is_group=True, others=members, ours=ours)
        assert event_of(event_type, NEW, scene).line in {LINE, None}


@every_version
@pytest.mark.parametrize("service", ["iMessage", "RCS", "SMS"])
@pytest.mark.parametrize("is_group", [True, False])
def test_a_message_says_its_service_and_whether_the_chat_is_a_group(
    version: str, service: str, *, is_group: bool
) -> None:
    scene = Scene(line=LINE, service=service, is_group=is_group)
    facts = event_of("message.received", version, scene).fields
    assert (facts.service, facts.is_group) == (service, is_group)


@every_type
@every_version
def test_a_message_that_was_recovered_says_when_in_the_newer_version(event_type: str, version: str) -> None:
    late = telling_of(event_type, EVENT_ID, MOMENT, SCENE).content(version, MOMENT + timedelta(hours=3)).body
    marked = version == NEW and event_type in LIVE_MESSAGES
    facts = decode(Dialect.V3, late, None).event.fields
    assert facts.reconciled_at == ("2026-09-14T12:15:02.417Z" if marked else None)
    data = json.loads(late)["data"]
    data.pop("reconciled_at", None)
    assert data == data_of(event_type, SCENE, version)


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


@every_type
def test_the_same_scene_makes_the_same_payload(event_type: str) -> None:
    assert body_of(event_type, NEW) == body_of(event_type, NEW, replace(SCENE))


@every_version
@pytest.mark.parametrize(
    ("event_type", "is_delivered", "is_read"),
    [
        ("message.received", False, False),
        ("message.sent", False, False),
        ("message.delivered", True, False),
        ("message.read", True, True),
        ("poll.sent", False, False),
        ("poll.delivered", True, False),
        ("poll.read", True, True),
    ],
)
def test_receipts_have_the_times_of_what_they_tell(
    version: str, event_type: str, *, is_delivered: bool, is_read: bool
) -> None:
    data = data_of(event_type, SCENE, version)
    message: dict[str, Any] = data.get("message", data)
    assert (message["sent_at"] is not None, message["delivered_at"] is not None, message["read_at"] is not None) == (
        True,
        is_delivered,
        is_read,
    )


@pytest.mark.parametrize("code", FAILURES)
def test_a_failure_says_why(code: int) -> None:
    scene = replace(SCENE, code=code)
    failed, poll_failed = (data_of(event_type, scene, NEW) for event_type in ("message.failed", "poll.failed"))
    assert (failed["code"], failed["reason"]) == (code, FAILURES[code])
    assert poll_failed["error"] == {"code": code, "message": FAILURES[code]}


def test_a_reaction_that_is_removed_is_the_one_that_was_added() -> None:
    added, removed = (data_of(event_type, SCENE, NEW) for event_type in ("reaction.added", "reaction.removed"))
    assert added["reaction_id"] == removed["reaction_id"]
    for other in (replace(SCENE, ours=True), SCENE.next_message("Yes, booked.", "another")):
        assert data_of("reaction.added", other, NEW)["reaction_id"] != added["reaction_id"]


def test_votes_and_updates_are_about_the_last_option_of_their_poll() -> None:
    scene = replace(SCENE, options=("3pm", "4pm", "5pm"))
    *_, last = data_of("poll.received", scene, NEW)["poll"]["options"]
    assert last["text"] == "5pm"
    assert data_of("poll.updated", scene, NEW)["added_options"] == [last]
    assert {data_of(vote, scene, NEW)["option_id"] for vote in VOTES} == {last["option_id"]}


@pytest.mark.parametrize(
    ("flagged", "statuses", "reputations"),
    [(True, ["ACTIVE", "FLAGGED"], ["HEALTHY", "CRITICAL"]), (False, ["FLAGGED", "ACTIVE"], ["CRITICAL", "HEALTHY"])],
)
def test_a_line_is_flagged_and_healthy_again(statuses: list[str], reputations: list[str], *, flagged: bool) -> None:
    data = data_of("phone_number.status_updated", replace(SCENE, flagged=flagged), NEW)
    assert [data["previous_status"], data["new_status"]] == statuses
    assert [data["previous_reputation"], data["new_reputation"]] == reputations


@pytest.mark.parametrize(("ours", "ends"), [(True, (LINE, CUSTOMER)), (False, (CUSTOMER, LINE))])
def test_a_call_goes_from_who_calls_to_the_other_side(ends: tuple[str, str], *, ours: bool) -> None:
    data = data_of("call.initiated", replace(SCENE, ours=ours), NEW)
    assert (data["from"], data["to"]) == ends


def test_a_group_is_created_with_all_its_members() -> None:
    scene = replace(SCENE, is_group=True, others=("+15035550177", "ana.ruiz@example.net"))
    handles = data_of("chat.created", scene, NEW)["handles"]
    assert {handle["handle"]: handle["is_me"] for handle in handles} == {
        LINE: True,
        CUSTOMER: False,
        "+15035550177": False,
        "ana.ruiz@example.net": False,
    }


def test_who_was_removed_from_a_group_has_left_it() -> None:
    removed = data_of("participant.removed", SCENE, NEW)
    assert (removed["participant"]["status"], removed["participant"]["left_at"]) == ("removed", SCENE.at)


def test_account_events_about_changes_say_from_what_to_what() -> None:
    changed = {event_type for event_type in known_types() if "change" in data_of(event_type, SCENE, NEW)}
    updates = re.compile(r".*(updated|renamed|changed|expiry_scheduled|line_moved|routing_headers_.*)")
    account_events = {event_type for event_type in known_types() if "actor" in data_of(event_type, SCENE, NEW)}
    assert changed == set(filter(updates.fullmatch, account_events))


def test_the_next_message_is_another_one_in_the_same_chat() -> None:
    answer = SCENE.next_message("Yes, booked.", "another")
    assert answer == replace(SCENE, text="Yes, booked.", message_id="another")


def test_a_type_without_payload_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        data_of("hologram.projected", SCENE, NEW)
