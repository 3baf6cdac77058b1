"""Fields of v3 payloads: a row for every shape in Linq's SDK types and on https://docs.linqapp.com.

`message`, `old`, `poll` and so on are short for the fields that such events have in common (`payloads.SHAPES`).
"""

from __future__ import annotations

from typing import get_args

from linq.types.webhook_event_type import WebhookEventType

from relay.core.event import Dialect
from tests.linq.sample_payloads import misread, rows

TYPES = {
    "MESSAGES": "message.received message.sent message.delivered message.read",
    "RECEIPTS": "message.delivered message.read",
    "REACTIONS": "reaction.added reaction.removed poll.reaction.added",
    "POLLS": "poll.received poll.sent poll.delivered poll.read poll.failed",
    "VOTES": "poll.vote.added poll.vote.removed",
    "MEMBERS": "participant.added participant.removed",
    "RENAMED": "chat.group_name_updated chat.group_icon_updated",
    "UPDATE-FAILED": "chat.group_name_update_failed chat.group_icon_update_failed chat.background_update_failed",
    "TYPING": "chat.typing_indicator.started chat.typing_indicator.stopped",
    "NUMBERS": "phone_number.status_updated phone_number.assigned phone_number.released",
    "LOCATION": "location.sharing.started location.sharing.stopped",
    "CALLS": "call.initiated call.ringing call.answered call.ended call.failed call.declined call.no_answer",
    "MONEY": "payment.succeeded payment.canceled payment.expired payment.declined payment.authorized "
    "connection.created connection.revoked",
    "ABOUT-A-LINE": "phone_number.forwarding_updated environment.line_moved zero_day_retention.updated "
    "contact_card.created contact_card.updated contact_card.deleted",
    "ACCOUNT": "api_token.created api_token.renamed api_token.expiry_scheduled api_token.expired api_token.activated "
    "api_token.deleted environment.created environment.renamed environment.deleted webhook_subscription.created "
    "webhook_subscription.deleted webhook_subscription.enabled webhook_subscription.disabled "
    "webhook_subscription.target_url_changed webhook_subscription.events.updated "
    "webhook_subscription.phone_numbers.updated webhook_subscription.routing_headers_set "
    "webhook_subscription.routing_headers_cleared team_member.added team_member.signed_in team_member.signed_out",
    "BACKGROUND": "chat.background_updated",
    "CARD": "contact_card.received",
    "NEW": "hologram.projected message.hologram chat.hologram",
}

TABLE = """
# types | payload | line, chat, message, direction, service, group
# messages, 2026-02-03: the owner of the chat is the line
MESSAGES       | message in  chat.owner_handle=OURS sender_handle=THEIRS            | LINE C M inbound  RCS      -
MESSAGES       | message out chat.owner_handle=OURS sender_handle=OURS              | LINE C M outbound RCS      -
MESSAGES       | message in  chat.owner_handle=OURS? sender_handle=THEIRS?          | LINE C M inbound  RCS      -
MESSAGES       | message in  chat.owner_handle=OURS chat.is_group=true              | LINE C M inbound  RCS      true
MESSAGES       | message in  chat.owner_handle=OURS chat.is_group=false             | LINE C M inbound  RCS      false
MESSAGES       | message in  chat.owner_handle=null sender_handle=THEIRS            | -    C M inbound  RCS      -
MESSAGES       | message in  chat.owner_handle=null sender_handle=THEIRS?           | -    C M inbound  RCS      -
MESSAGES       | message in  sender_handle=THEIRS                                   | -    C M inbound  RCS      -
MESSAGES       | message in  chat.owner_handle=OUR-EMAIL sender_handle=THEIRS       | -    C M inbound  RCS      -
MESSAGES       | message in  chat.owner_handle=THEIRS sender_handle=THEIRS          | -    C M inbound  RCS      -
MESSAGES       | message out chat.owner_handle=null sender_handle=OURS              | LINE C M outbound RCS      -
MESSAGES       | message out chat.owner_handle=null sender_handle=OURS?             | LINE C M outbound RCS      -
MESSAGES       | message out chat.owner_handle=OUR-EMAIL sender_handle=OURS         | LINE C M outbound RCS      -
MESSAGES       | message out chat.owner_handle=OUR-EMAIL sender_handle=OUR-EMAIL    | -    C M outbound RCS      -
MESSAGES       | message     chat.owner_handle=null sender_handle=OURS              | LINE C M -        RCS      -
# messages, 2025-01-01: the recipient of what came in, the sender of what went out
MESSAGES       | old came recipient_handle=OURS recipient_phone=LINE                | LINE C M inbound  RCS      false
MESSAGES       | old came recipient_handle=OURS recipient_phone=null                | LINE C M inbound  RCS      false
MESSAGES       | old came recipient_handle=null recipient_phone=LINE                | LINE C M inbound  RCS      false
MESSAGES       | old came? recipient_handle=OURS?                                   | LINE C M inbound  RCS      false
MESSAGES       | old came? recipient_handle=null recipient_phone=null               | -    C M inbound  RCS      false
MESSAGES       | old came from_handle=null                                          | -    C M inbound  RCS      false
MESSAGES       | old came recipient_handle=OUR-EMAIL recipient_phone=EMAIL          | -    C M inbound  RCS      false
MESSAGES       | old went from=LINE from_handle=OURS recipient_handle=null          | LINE C M outbound RCS      false
MESSAGES       | old went from=LINE from_handle=null recipient_phone=CUSTOMER       | LINE C M outbound RCS      false
MESSAGES       | old went from_handle=OURS? recipient_handle=THEIRS?                | LINE C M outbound RCS      false
MESSAGES       | old went recipient_handle=THEIRS? recipient_phone=CUSTOMER         | -    C M outbound RCS      false
MESSAGES       | old from=CUSTOMER from_handle=THEIRS? recipient_phone=CUSTOMER     | -    C M -        RCS      false
RECEIPTS       | old went from=LINE from_handle=OURS message_id=M                   | LINE C M outbound RCS      false
# other message events
message.failed | chat_id=C message_id=M code=4001 service=SMS                       | -    C M outbound SMS      -
message.failed | chat_id=null message_id=null code=3007 service=null                | -    - - outbound -        -
message.edited | id=M in  chat.id=C chat.owner_handle=OURS chat.is_group=true       | LINE C M inbound  iMessage true
message.edited | id=M out chat.id=C chat.owner_handle=OURS sender_handle=OURS       | LINE C M outbound iMessage -
# reactions name the line only where they are our own
REACTIONS      | reaction is_from_me=false from=CUSTOMER from_handle=THEIRS         | -    C M inbound  RCS      -
REACTIONS      | reaction is_from_me=false from=CUSTOMER from_handle=THEIRS?        | -    C M inbound  RCS      -
REACTIONS      | reaction is_from_me=true from=LINE from_handle=OURS                | LINE C M outbound RCS      -
REACTIONS      | reaction is_from_me=true from=LINE from_handle=null                | LINE C M outbound RCS      -
REACTIONS      | reaction is_from_me=true from=null from_handle=OURS?               | LINE C M outbound RCS      -
REACTIONS      | reaction is_from_me=yes from=CUSTOMER from_handle=THEIRS?          | -    C M -        RCS      -
REACTIONS      | reaction out from=CUSTOMER from_handle=THEIRS?                     | -    C M outbound RCS      -
REACTIONS      | is_from_me=false chat_id=null message_id=null from=CUSTOMER        | -    - - inbound  -        -
# polls
POLLS          | poll in  chat.owner_handle=OURS sender_handle=THEIRS               | LINE C M inbound  RCS      -
POLLS          | poll in  chat.owner_handle=null sender_handle=THEIRS?              | -    C M inbound  RCS      -
POLLS          | poll in  chat.owner_handle=OURS chat.is_group=true                 | LINE C M inbound  RCS      true
POLLS          | poll out chat.owner_handle=null sender_handle=OURS?                | LINE C M outbound RCS      -
POLLS          | poll out chat.owner_handle=null sender_handle=null                 | -    C M outbound RCS      -
poll.updated   | poll in  chat.owner_handle=OURS sender_handle=OURS                 | LINE C M inbound  RCS      -
poll.updated   | poll in  chat.owner_handle=null sender_handle=OURS?                | LINE C M inbound  RCS      -
poll.updated   | poll in  chat.owner_handle=null sender_handle=THEIRS               | -    C M inbound  RCS      -
VOTES          | poll in  chat.owner_handle=OURS sender_handle=THEIRS               | LINE C M inbound  RCS      -
VOTES          | poll in  chat.owner_handle=null sender_handle=THEIRS?              | -    C M inbound  RCS      -
VOTES          | poll out chat.owner_handle=null sender_handle=OURS?                | LINE C M outbound RCS      -
# who is in a chat, and what it looks like
MEMBERS        | chat_id=C handle=CUSTOMER participant=THEIRS                       | -    C - -        iMessage -
MEMBERS        | chat_id=C handle=CUSTOMER participant=THEIRS?                      | -    C - -        iMessage -
MEMBERS        | chat_id=C handle=LINE participant=OURS                             | LINE C - -        iMessage -
MEMBERS        | chat_id=null handle=CUSTOMER participant=null                      | -    - - -        -        -
chat.created   | id=C service=SMS is_group=false handles=BOTH                       | LINE C - -        SMS      false
chat.created   | id=C service=null is_group=true handles=ONLY-THEM                  | -    C - -        -        true
RENAMED        | chat_id=C old_value=a new_value=null changed_by_handle=THEIRS      | -    C - -        iMessage -
RENAMED        | chat_id=C old_value=null new_value=CUSTOMER changed_by_handle=OURS | LINE C - -        iMessage -
RENAMED        | chat_id=C old_value=a new_value=b                                  | -    C - -        -        -
UPDATE-FAILED  | chat_id=C error_code=3007                                          | -    C - -        -        -
BACKGROUND     | chat.id=C chat.owner_handle=OURS actor_handle=THEIRS               | LINE C - -        iMessage -
BACKGROUND     | chat.id=C chat.owner_handle=null actor_handle=OURS                 | LINE C - -        -        -
BACKGROUND     | chat.id=C chat.is_group=true actor_handle=THEIRS                   | -    C - -        -        true
TYPING         | chat_id=C                                                          | -    C - -        -        -
TYPING         | chat_id=C actor_handle=THEIRS                                      | -    C - -        -        -
TYPING         | chat_id=C actor_handle=THEIRS?                                     | -    C - -        -        -
# events about a line
NUMBERS        | phone_number=LINE new_status=FLAGGED                               | LINE - - -        -        -
CARD           | first_name=Ana owner_handle=LINE sender_handle=CUSTOMER            | LINE - - inbound  -        -
CARD           | first_name=Ana owner_handle=EMAIL sender_handle=CUSTOMER           | -    - - inbound  -        -
LOCATION       | shared_by=CUSTOMER shared_with=LINE chat_id=C                      | LINE C - -        -        -
LOCATION       | shared_by=CUSTOMER shared_with=EMAIL chat_id=null                  | -    - - -        -        -
ABOUT-A-LINE   | change phone_number=LINE                                           | LINE - - -        -        -
ABOUT-A-LINE   | change                                                             | -    - - -        -        -
# events about none
MONEY          | id=P amount=100 metadata.phone_number=CUSTOMER                     | -    - - -        -        -
ACCOUNT        | change webhook_subscription.target_url=https://example.org         | -    - - -        -        -
# calls have no published payload: what other events do, then the ends of the call by its direction
CALLS          | id=X in  from=CUSTOMER to=LINE                                     | LINE - - inbound  -        -
CALLS          | id=X out from=LINE to=CUSTOMER                                     | LINE - - outbound -        -
CALLS          | id=X from=CUSTOMER to=LINE                                         | -    - - -        -        -
CALLS          | id=X phone_number=LINE from=CUSTOMER                               | LINE - - -        -        -
CALLS          | id=X owner_handle=LINE from=CUSTOMER                               | LINE - - -        -        -
CALLS          | id=X owner_handle=OURS from=CUSTOMER chat_id=C                     | LINE C - -        -        -
CALLS          | id=X chat.id=C chat.owner_handle=OURS                              | LINE C - -        iMessage -
# types | payload | line, chat, message, direction, service, group
NEW            | chat.id=C chat.owner_handle=OURS chat.is_group=true service=RCS in | LINE C - inbound  RCS      true
NEW            | chat_id=C message_id=M owner_handle=LINE                           | LINE C M -        -        -
NEW            | chat_id=C message_id=M sender_handle=OURS                          | LINE C M -        -        -
NEW            | phone_number=CUSTOMER from=CUSTOMER sender_handle=THEIRS?          | -    - - -        -        -
"""


def test_payload_has_the_expected_fields() -> None:
    assert misread(Dialect.V3, TABLE, TYPES) == {}


def test_every_sdk_event_type_has_a_row() -> None:
    assert set(get_args(WebhookEventType)) <= {event_type for event_type, _, _ in rows(TABLE, TYPES)}
