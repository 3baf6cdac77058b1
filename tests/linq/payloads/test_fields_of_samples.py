"""A sample of every payload that Linq documents, with its expected fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.core.event import Dialect, Event, PayloadFields
from relay.linq.payloads.decode import decode
from tests.building import CUSTOMER, LINE, OTHER_LINE

SAMPLES = Path(__file__).parent / "samples"

CHAT = "5d1c7e0a-3b52-4c8e-9a41-0f6b7d2e8c11"
GROUP = "e7a90b34-6f1d-4a2b-8c55-91d03c4f7a20"
THEIR_MESSAGE = "b3f2a8d1-77c4-4e19-a5d0-2c6e9f1b4a83"
OUR_MESSAGE = "0c8d5e7f-12ab-4f60-9d3e-8a7b6c5d4e3f"
APPLE = "iMessage"

EXPECTED_FIELDS = {
    "v3-message.received": PayloadFields(LINE, CHAT, THEIR_MESSAGE, "inbound", APPLE, is_group=False),
    "v3-message.sent": PayloadFields(LINE, CHAT, OUR_MESSAGE, "outbound", APPLE, is_group=False),
    "v3-message.delivered": PayloadFields(LINE, CHAT, OUR_MESSAGE, "outbound", APPLE, is_group=False),
    "v3-message.read": PayloadFields(LINE, CHAT, OUR_MESSAGE, "outbound", APPLE, is_group=False),
    "v3-message.edited": PayloadFields(LINE, CHAT, THEIR_MESSAGE, "inbound", APPLE, is_group=False),
    "v3-message.failed": PayloadFields(None, CHAT, OUR_MESSAGE, "outbound", APPLE),
    "v3-message.received-2025-01-01": PayloadFields(LINE, CHAT, THEIR_MESSAGE, "inbound", APPLE, is_group=False),
    "v3-message.sent-2025-01-01": PayloadFields(LINE, CHAT, OUR_MESSAGE, "outbound", APPLE, is_group=False),
    "v3-reaction.added": PayloadFields(None, CHAT, OUR_MESSAGE, "inbound", APPLE),
    "v3-participant.added": PayloadFields(None, GROUP, None, None, APPLE),
    "v3-chat.created": PayloadFields(LINE, CHAT, None, None, APPLE, is_group=False),
    "v3-chat.group_name_updated": PayloadFields(None, GROUP, None, None, APPLE),
    "v3-chat.typing_indicator.started": PayloadFields(None, CHAT),
    "v3-phone_number.status_updated": PayloadFields(LINE),
    "v3-contact_card.received": PayloadFields(LINE, direction="inbound"),
    "v3-location.sharing.started": PayloadFields(LINE, CHAT),
    "v3-webhook_subscription.disabled": PayloadFields(),
    "v3-call.ended": PayloadFields(LINE, direction="inbound"),
    "v2-message.received": PayloadFields(LINE, "771204", "40118223", "inbound", APPLE),
    "v2-message.sent": PayloadFields(LINE, "771204", "40118240", "outbound", APPLE),
    "v2-message.read": PayloadFields(None, "771204", "40118240"),
    "v2-reaction.received": PayloadFields(LINE, "771204", "40118240", "inbound"),
    "v2-typing_indicator.received": PayloadFields(LINE, "771204"),
    "v2-call.completed": PayloadFields(LINE, direction="inbound"),
    "v2-chat.created": PayloadFields(LINE, "771204", service=APPLE, is_group=False),
    "v2-participant.added": PayloadFields(LINE, "771300"),
    "v2-contact.created": PayloadFields(),
    "v2-contact.deleted": PayloadFields(),
}


def sample(name: str) -> dict[str, Any]:
    """Return the envelope of a sample."""
    envelope: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_bytes())
    return envelope


def event_of(envelope: dict[str, Any], line: str | None = None) -> Event:
    """Return the event of `envelope`."""
    return decode(Dialect(envelope["api_version"]), json.dumps(envelope).encode(), line).event


def test_every_sample_is_in_the_table() -> None:
    assert {path.stem for path in SAMPLES.iterdir()} == set(EXPECTED_FIELDS)


@pytest.mark.parametrize(("name", "fields"), EXPECTED_FIELDS.items(), ids=EXPECTED_FIELDS)
def test_sample_has_the_expected_fields(name: str, fields: PayloadFields) -> None:
    envelope = sample(name)
    assert event_of(envelope) == Event(
        id=envelope["event_id"],
        type=envelope["event_type"],
        version=envelope.get("webhook_version", "v2"),
        line=fields.line,
        fields=fields,
        created_at=envelope["created_at"],
        trace_id=envelope.get("trace_id"),
    )


@pytest.mark.parametrize("name", EXPECTED_FIELDS)
def test_no_sample_takes_the_customer_as_line(name: str) -> None:
    text = (SAMPLES / f"{name}.json").read_text()
    for number in (CUSTOMER, "+15035550177", "ana.ruiz@example.net"):
        assert event_of(json.loads(text)).line != number
    swapped = text.replace(LINE, "+LINE").replace(CUSTOMER, LINE).replace("+LINE", CUSTOMER)
    assert event_of(json.loads(swapped)).line == {LINE: CUSTOMER, None: None}[EXPECTED_FIELDS[name].line]


@pytest.mark.parametrize("name", EXPECTED_FIELDS)
def test_url_line_is_the_line_of_any_sample(name: str) -> None:
    assert event_of(sample(name), OTHER_LINE).line == OTHER_LINE


# --- variants of the samples ----------------------------------------------------------------------


@pytest.mark.parametrize("receipt", ["delivered", "read"])
def test_receipts_of_2025_01_01_are_for_our_message(receipt: str) -> None:
    envelope = sample("v3-message.sent-2025-01-01")
    envelope["event_type"] = f"message.{receipt}"
    at = "2026-09-14T09:16:12.044Z"
    envelope["data"] |= {"message_id": OUR_MESSAGE, f"{receipt}_at": at}
    envelope["data"]["message"] |= {f"is_{receipt}": True, f"{receipt}_at": at}
    assert event_of(envelope).fields == EXPECTED_FIELDS["v3-message.sent-2025-01-01"]


def test_recipient_handle_is_enough_in_2025_01_01() -> None:
    envelope = sample("v3-message.received-2025-01-01")
    envelope["data"]["recipient_phone"] = None
    assert event_of(envelope).line == LINE


def test_recipient_phone_is_enough_in_2025_01_01() -> None:
    envelope = sample("v3-message.received-2025-01-01")
    envelope["data"]["recipient_handle"] = None
    assert event_of(envelope).line == LINE


def test_own_message_has_its_line_in_the_sender() -> None:
    envelope = sample("v3-message.sent-2025-01-01")
    envelope["event_type"] = "message.received"
    envelope["data"]["recipient_phone"] = CUSTOMER
    assert event_of(envelope).fields == EXPECTED_FIELDS["v3-message.sent-2025-01-01"]


@pytest.mark.parametrize("owner", [None, {"handle": "support@example.com", "is_me": True}])
def test_inbound_owner_without_number_gives_no_line(owner: object) -> None:
    envelope = sample("v3-message.received")
    envelope["data"]["chat"]["owner_handle"] = owner
    assert event_of(envelope).line is None


@pytest.mark.parametrize("owner", [None, {"handle": "support@example.com", "is_me": True}])
def test_outbound_owner_without_number_uses_the_sender(owner: object) -> None:
    envelope = sample("v3-message.sent")
    envelope["data"]["chat"]["owner_handle"] = owner
    assert event_of(envelope).line == LINE


def test_our_own_reaction_names_the_line() -> None:
    envelope = sample("v3-reaction.added")
    ours = sample("v3-message.sent")["data"]["sender_handle"]
    envelope["data"] |= {"is_from_me": True, "from": LINE, "from_handle": ours}
    assert event_of(envelope).fields == PayloadFields(LINE, CHAT, OUR_MESSAGE, "outbound", APPLE)


def test_line_that_joins_a_group_is_the_line() -> None:
    envelope = sample("v3-participant.added")
    envelope["data"] |= {"handle": LINE, "participant": sample("v3-message.sent")["data"]["sender_handle"]}
    assert event_of(envelope).line == LINE


def test_v2_outbound_call_has_its_line_as_caller() -> None:
    envelope = sample("v2-call.completed")
    envelope["data"] |= {"direction": "outbound", "from": LINE, "to": CUSTOMER}
    assert event_of(envelope).fields == PayloadFields(LINE, direction="outbound")


def test_recovered_message_is_history() -> None:
    envelope = sample("v3-message.received")
    assert event_of(envelope).freshness == "live"
    envelope["data"]["reconciled_at"] = "2026-09-15T00:00:00Z"
    assert event_of(envelope).freshness == "history"
