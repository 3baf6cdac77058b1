"""Meanings of fields that mean the same in every model: the document has them where a model does not say more."""

from __future__ import annotations

MEANINGS = {
    "account": "The name of the account at Linq (`[[linq.accounts]]`); null where only one is configured.",
    "chat": "Linq's id of the chat.",
    "direction": "`inbound`, or `outbound` for what the company sent.",
    "entry": "The entry of the topic's stream.",
    "event": "Linq's id of the event.",
    "freshness": "`history` if Linq recovered the event later, otherwise `live`.",
    "group": "The name of the pull group.",
    "is_group": "True in a group chat.",
    "items": "What this part of the list has; perhaps nothing.",
    "letter": "The id of the dead letter, within its subscription.",
    "line": "The number of ours that the event belongs to, in E.164.",
    "message": "Linq's id of the message.",
    "receipts": "The `receipt` of each event.",
    "replay": "The id of the replay.",
    "scopes": "What the token may do.",
    "service": "The service of the message, such as `iMessage`, `RCS` or `SMS`.",
    "subscription": "The name of the push subscription.",
    "team": "The name of the team.",
    "token": "The id of the token.",
    "topic": "The name of the topic.",
    "trace": "Linq's trace id of the event.",
    "type": "The type of the event, such as `message.received`.",
    "version": "The form of the payload: `2026-02-03`, `2025-01-01`, or `v2`.",
    "webhook_id": "The `webhook-id` of Linq's request; almost always the id of the event.",
    "why": "The reason; it is kept in the audit.",
}
"""Descriptions, by the name of the field."""
