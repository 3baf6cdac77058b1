"""Fields of v2 payloads: a row for every shape on https://docs.linqapp.com/v2/api."""

from __future__ import annotations

import pytest

from relay.core.event import Dialect
from relay.linq.payloads.event_types import V2_TYPES
from relay.linq.payloads.fields import payload_fields
from tests.linq.sample_payloads import misread, rows

TYPES = {
    "MEMBERS": "participant.added participant.removed",
    "NEW": "hologram.projected message.hologram chat.hologram",
    "REACTIONS": "reaction.received reaction.sent",
    "TYPING": "typing_indicator.received typing_indicator.removed",
    "CONTACTS": "contact.created contact.updated contact.deleted",
}

TABLE = """
# types | payload | line, chat, message, direction, service, group
message.received | v2-message chat_handles=V2-BOTH from_phone=CUSTOMER      | LINE C M inbound  iMessage -
message.received | v2-message chat_handles=V2-ONLY-THEM from_phone=CUSTOMER | -    C M inbound  iMessage -
message.sent     | v2-message chat_handles=V2-BOTH from_phone=LINE          | LINE C M outbound iMessage -
message.sent     | v2-message from_phone=LINE                               | LINE C M outbound iMessage -
message.read     | id=M chat_id=C read_at=2026-09-14T09:15:02-06:00         | -    C M -        -        -
REACTIONS        | v2-reaction is_from_me=false chat_handles=V2-BOTH        | LINE C M inbound  -        -
REACTIONS        | v2-reaction is_from_me=true chat_handles=V2-BOTH         | LINE C M outbound -        -
TYPING           | chat_id=C display=true chat_handles=V2-BOTH              | LINE C - -        -        -
chat.created     | chat_id=C service=SMS is_group=true chat_handles=V2-BOTH | LINE C - -        SMS      true
chat.created     | chat_id=C service=SMS is_group=false chat_handles=null   | -    C - -        SMS      false
call.completed   | id=X in  from=CUSTOMER to=LINE answered_by=LINE          | LINE - - inbound  -        -
call.completed   | id=X out from=LINE to=CUSTOMER forwarded_from=CUSTOMER   | LINE - - outbound -        -
call.completed   | id=X from=LINE to=CUSTOMER                               | -    - - -        -        -
CONTACTS         | id=6120 phone_number=CUSTOMER full_name=Mara             | -    - - -        -        -
MEMBERS          | chat_id=C chat_handles=V2-BOTH                           | LINE C - -        -        -
NEW              | chat_id=C chat_handles=V2-BOTH from_phone=CUSTOMER       | LINE C - -        -        -
"""


def test_payload_has_the_expected_fields() -> None:
    assert misread(Dialect.V2, TABLE, TYPES) == {}


@pytest.mark.parametrize(("chat", "expected"), [(771204, "771204"), ("771204", "771204"), (True, None), (-1, None)])
def test_chat_id_may_be_a_number(chat: object, expected: str | None) -> None:
    assert payload_fields(Dialect.V2, "message.read", {"chat_id": chat}).chat == expected


def test_every_v2_event_type_has_a_row() -> None:
    assert set(V2_TYPES) <= {event_type for event_type, _, _ in rows(TABLE, TYPES)}
