from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linq.types.webhook_event_type import WebhookEventType

from relay.core.event import Dialect, PayloadFields
from relay.core.lines import is_line
from relay.linq.payloads.event_types import V2_TYPES
from relay.linq.payloads.fields import payload_fields
from tests.building import CUSTOMER, LINE
from tests.linq.sample_payloads import misread, payload
from tests.properties import json_values, quick


def test_recovered_message_has_its_reconciliation_time() -> None:
    data = payload("message in chat.owner_handle=OURS reconciled_at=2026-09-14T09:15:02Z")
    assert payload_fields(Dialect.V3, "message.received", data).reconciled_at == "2026-09-14T09:15:02Z"


def test_chat_fields_take_precedence() -> None:
    data = payload("message chat_id=elsewhere is_group=true chat.is_group=false")
    fields = payload_fields(Dialect.V3, "message.received", data)
    assert (fields.chat, fields.is_group) == ("C", False)


@pytest.mark.parametrize(
    "number", ["16465550123", "+0646555012", "+1 646 555 0123", "+1646555012345678", "+1646\n", ""]
)
def test_value_that_is_not_e164_is_not_a_line(number: str) -> None:
    assert payload_fields(Dialect.V3, "phone_number.assigned", {"phone_number": number}).line is None


@pytest.mark.parametrize("odd", [7, True, [], {}, ["+16465550123"], {"handle": LINE}, None])
def test_json_number_is_not_a_line(odd: object) -> None:
    assert payload_fields(Dialect.V3, "phone_number.assigned", {"phone_number": odd}).line is None


@pytest.mark.parametrize("is_me", ["true", 1, "yes", {}, [True]])
def test_only_true_marks_a_handle_as_ours(is_me: object) -> None:
    handle = {"handle": CUSTOMER, "is_me": is_me}
    assert payload_fields(Dialect.V3, "participant.added", {"participant": handle}).line is None
    handles = [{"identifier": CUSTOMER, "is_me": is_me}]
    assert payload_fields(Dialect.V2, "chat.created", {"chat_handles": handles}).line is None


CONTRADICTIONS = """
message.sent     | old went from=CUSTOMER from_handle=THEIRS                 | - C M outbound RCS false
message.received | old came recipient_handle=THEIRS recipient_phone=CUSTOMER | - C M inbound  RCS false
reaction.added   | reaction is_from_me=true from=CUSTOMER from_handle=THEIRS | - C M outbound RCS -
"""


def test_text_beside_a_foreign_handle_is_not_a_line() -> None:
    assert misread(Dialect.V3, CONTRADICTIONS) == {}


# --- properties -----------------------------------------------------------------------------------

OUR_NUMBERS = [f"+1646555{number:04}" for number in range(5)]
THEIR_NUMBERS = [f"+1303555{number:04}" for number in range(5)]

any_type = st.sampled_from([*get_args(WebhookEventType), *V2_TYPES, "hologram.projected", ""])
numbers = st.sampled_from(OUR_NUMBERS)
handles = st.one_of(
    st.fixed_dictionaries(
        {
            "handle": st.sampled_from(THEIR_NUMBERS),
            "identifier": st.sampled_from(THEIR_NUMBERS),
            "is_me": st.sampled_from([False]),
        }
    ),
    st.fixed_dictionaries(
        {"handle": numbers | json_values, "identifier": numbers | json_values},
        optional={"is_me": st.sampled_from([True, None]) | st.text(), "service": json_values},
    ),
)
fields = st.one_of(handles, numbers, st.booleans(), st.sampled_from(["inbound", "outbound"]), json_values)
names = st.sampled_from(
    [
        *("id", "chat_id", "message_id", "chat_message_id", "direction", "service", "is_from_me", "is_group"),
        *("phone_number", "owner_handle", "shared_with", "from", "to", "recipient_phone", "from_phone", "handle"),
        *("sender_handle", "from_handle", "recipient_handle", "participant", "changed_by_handle", "actor_handle"),
        *("message", "reconciled_at"),
    ]
)
chats = st.dictionaries(st.sampled_from(["id", "owner_handle", "is_group"]), fields) | json_values
data_of_all_kinds = st.builds(
    lambda plain, chat, one, other: plain | {"chat": chat, "handles": one, "chat_handles": other},
    st.dictionaries(names, fields),
    chats,
    st.lists(fields, max_size=3) | json_values,
    st.lists(fields, max_size=3) | json_values,
)


@quick
@given(st.sampled_from(Dialect), any_type, data_of_all_kinds)
def test_line_is_e164_and_never_a_foreign_handle(dialect: Dialect, event_type: str, data: dict[str, Any]) -> None:
    fields = payload_fields(dialect, event_type, data)
    assert fields.line is None or is_line(fields.line)
    assert fields.line not in THEIR_NUMBERS
    assert fields.direction in {None, "inbound", "outbound"}
    assert fields.is_group in {None, True, False}
    for text in (fields.chat, fields.message, fields.service, fields.reconciled_at):
        assert text != ""


@quick
@given(st.sampled_from(Dialect), any_type | st.text(), st.dictionaries(st.text() | names, json_values))
def test_any_json_is_accepted(dialect: Dialect, event_type: str, data: dict[str, Any]) -> None:
    assert isinstance(payload_fields(dialect, event_type, data), PayloadFields)
