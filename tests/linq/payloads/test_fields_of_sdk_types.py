"""Every webhook class of Linq's SDK in every scene: the line is found if it is there, and is never a customer."""

from __future__ import annotations

import json
import pkgutil
from itertools import product
from typing import TYPE_CHECKING, get_args

import linq.types
import pytest
from linq.types.webhook_event_type import WebhookEventType

from relay.core.event import Dialect, Event
from relay.linq.payloads.decode import decode
from tests.building import LINE
from tests.linq.sdk_payloads import EVENT_TYPES, NO_CLASS, SCENES, Scene, class_of, instance_of

if TYPE_CHECKING:
    from pydantic import BaseModel

MESSAGES = {"message.sent", "message.received", "message.delivered", "message.read", "message.edited"}
POLLS = {
    f"poll.{what}"
    for what in ("received", "failed", "sent", "delivered", "read", "updated", "vote.added", "vote.removed")
}
IN_THE_OWNER = MESSAGES | POLLS | {"chat.background_updated"}
"""`data.chat.owner_handle`"""

PLAIN = {
    *("phone_number.status_updated", "phone_number.assigned", "phone_number.released"),
    *("contact_card.received", "location.sharing.started", "location.sharing.stopped"),
}
"""A required text that is documented as the line."""

ABOUT_A_LINE = {
    *("phone_number.forwarding_updated", "environment.line_moved", "zero_day_retention.updated"),
    *("contact_card.created", "contact_card.updated", "contact_card.deleted"),
}
"""`data.phone_number`, if present."""

REACTIONS = {"reaction.added", "reaction.removed", "poll.reaction.added"}
OF_THE_ACTOR = {
    *("participant.added", "participant.removed", "chat.group_name_updated", "chat.group_icon_updated"),
    *("chat.typing_indicator.started", "chat.typing_indicator.stopped"),
}
"""An optional handle: of the line, if the line acts."""


def carries_the_line(event_type: str, scene: Scene) -> bool:
    """Return True if the payload has its line in a trusted field."""
    if event_type in PLAIN | {"message.edited"}:
        return True
    if event_type in IN_THE_OWNER:
        required_sender = MESSAGES | {"poll.updated", "poll.vote.added", "poll.vote.removed"}
        return scene.full or (scene.ours and event_type in required_sender) or event_type == "poll.updated"
    if event_type in ABOUT_A_LINE:
        return scene.full
    if event_type in REACTIONS:
        return scene.full and scene.ours
    if event_type in OF_THE_ACTOR:
        return scene.full and scene.ours and scene.marked
    return event_type == "chat.created" and scene.marked


def event_of(webhook: BaseModel) -> Event:
    """Return the event of an SDK object as Linq would send it."""
    body = json.dumps(webhook.model_dump(mode="json", by_alias=True, exclude_unset=True)).encode()
    return decode(Dialect.V3, body, None).event


def test_every_sdk_class_is_tested() -> None:
    modules = {module.name for module in pkgutil.iter_modules(linq.types.__path__)}
    webhooks = {name for name in modules if name.endswith("_webhook_event")} - {"unwrap_webhook_event"}
    assert {class_of(event_type).__module__.rpartition(".")[2] for event_type in EVENT_TYPES} == webhooks
    assert NO_CLASS | set(EVENT_TYPES) == set(get_args(WebhookEventType))


def test_line_is_found_and_never_a_customer() -> None:
    every = list(product(EVENT_TYPES, SCENES))
    found = {(each, str(scene)): event_of(instance_of(each, scene)).line for each, scene in every}
    assert found == {(each, str(scene)): LINE if carries_the_line(each, scene) else None for each, scene in every}


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("event_type", sorted(MESSAGES | POLLS))
def test_messages_and_polls_have_all_fields(event_type: str, ours: bool) -> None:  # noqa: FBT001
    fields = event_of(instance_of(event_type, Scene(ours))).fields
    assert fields.chat == "id-1"
    assert fields.message == ("message_id-1" if event_type in POLLS else "id-1")
    assert fields.direction == ("outbound" if ours else "inbound")
    assert fields.service in {"iMessage", "service-1"}
    assert fields.is_group is True


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("event_type", sorted(REACTIONS))
def test_reactions_have_all_fields(event_type: str, ours: bool) -> None:  # noqa: FBT001
    fields = event_of(instance_of(event_type, Scene(ours))).fields
    assert (fields.chat, fields.message) == ("chat_id-1", "message_id-1")
    assert (fields.direction, fields.service) == ("outbound" if ours else "inbound", "iMessage")


def test_sdk_envelope_is_parsed() -> None:
    events = {event_type: event_of(instance_of(event_type, Scene(ours=True))) for event_type in EVENT_TYPES}
    parsed = {each: (event.id, event.type, event.trace_id, event.version) for each, event in events.items()}
    assert parsed == {each: ("event_id-1", each, "trace_id-1", "webhook_version-1") for each in EVENT_TYPES}
