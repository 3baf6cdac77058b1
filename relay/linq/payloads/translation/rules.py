"""The differences between the versions, by event type: a type that is not listed here is not translated.

Linq's page of events (https://docs.linqapp.com/guides/webhooks/events) describes each type in both versions, and its
SDK's `WebhookEventType` and `MessageEventV2` name the differences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.linq.payloads.translation import chats, messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.linq.payloads.translation.json_objects import Json

    Change = Callable[[Json, Json], Json]
    """Takes the `data` and the envelope; returns the `data` in the other version."""

V2025 = "2025-01-01"
V2026 = "2026-02-03"


class Rule(NamedTuple):
    """The translation of one event type."""

    to: dict[str, Change]
    """The change of `data`, by the version that it makes; a version that is absent does not have the type."""
    source: str
    """The document of the difference."""


def _unchanged(data: Json, _: Json) -> Json:
    return data


_MESSAGE = Rule(
    {V2025: messages.to_2025, V2026: messages.to_2026},
    "MessageEventV2 of Linq's SDK: key differences from 2025-01-01",
)
_CHAT_CREATED = Rule(
    {V2025: chats.created_to_2025, V2026: chats.created_to_2026},
    "Linq's page of events: health_status is there since 2026-02-03",
)
_EDITED = Rule(
    {V2026: _unchanged},
    "WebhookEventType of Linq's SDK: message.edited is only delivered in 2026-02-03",
)
_SAME = Rule(
    {V2025: _unchanged, V2026: _unchanged},
    "Linq's page of events: the same in both; the SDK names no difference",
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("message.sent", "message.received", "message.delivered", "message.read"), _MESSAGE),
    "message.edited": _EDITED,
    "chat.created": _CHAT_CREATED,
    **dict.fromkeys(
        (
            *("message.failed", "reaction.added", "reaction.removed", "participant.added", "participant.removed"),
            *("poll.received", "poll.failed", "poll.sent", "poll.delivered", "poll.read", "poll.updated"),
            *("poll.vote.added", "poll.vote.removed", "poll.reaction.added"),
            *("chat.group_name_updated", "chat.group_icon_updated", "chat.background_updated"),
            *("chat.group_name_update_failed", "chat.group_icon_update_failed", "chat.background_update_failed"),
            *("chat.typing_indicator.started", "chat.typing_indicator.stopped"),
            *("phone_number.status_updated", "phone_number.assigned", "phone_number.released"),
            *("phone_number.forwarding_updated", "environment.line_moved", "zero_day_retention.updated"),
            *("contact_card.received", "contact_card.created", "contact_card.updated", "contact_card.deleted"),
            *("location.sharing.started", "location.sharing.stopped"),
            *("payment.succeeded", "payment.canceled", "payment.expired", "payment.declined", "payment.authorized"),
            *("connection.created", "connection.revoked"),
            *("api_token.created", "api_token.renamed", "api_token.expiry_scheduled", "api_token.expired"),
            *("api_token.activated", "api_token.deleted"),
            *("environment.created", "environment.renamed", "environment.deleted"),
            *("webhook_subscription.created", "webhook_subscription.deleted", "webhook_subscription.enabled"),
            *("webhook_subscription.disabled", "webhook_subscription.target_url_changed"),
            *("webhook_subscription.events.updated", "webhook_subscription.phone_numbers.updated"),
            *("webhook_subscription.routing_headers_set", "webhook_subscription.routing_headers_cleared"),
            *("team_member.added", "team_member.signed_in", "team_member.signed_out"),
        ),
        _SAME,
    ),
}
"""No document describes the payload of call.*, so that it has no rule."""
