"""Payloads of messages: `message.*`, the only family with a different shape in each version, and `reaction.*`.

2026-02-03 is as defined by the SDK (`linq.types.MessageEventV2`), 2025-01-01 as in Linq's older documents
(https://docs.linqapp.com/guides/webhooks/events).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.versions import OLD

if TYPE_CHECKING:
    from relay.sandbox.payloads.scenario import Builder, Scenario

FAILURES = {
    3007: "Maximum delivery attempts exceeded",
    4001: "Message send failed",
    4002: "Sender line is offline",
    4005: "Recipient cannot receive this type of message",
    4006: "Message send timed out",
    4007: "Message send failed",
    4008: "Message send failed",
}
"""Error codes of `message.failed` and `poll.failed`; Linq does not document the meaning of 4007 and 4008."""


def receipts(event_type: str, scenario: Scenario) -> dict[str, Any]:
    """Return the times of sending, delivery and reading up to this event; null if it has not happened yet."""
    read = event_type.endswith(".read")
    delivered = read or event_type.endswith(".delivered")
    return {
        "sent_at": scenario.at,
        "delivered_at": scenario.event_at if delivered else None,
        "read_at": scenario.event_at if read else None,
    }


def _message(event_type: str, scenario: Scenario, version: str) -> dict[str, Any]:
    inbound = event_type == "message.received"
    build = _message_old if version == OLD else _message_new
    return build(scenario, receipts(event_type, scenario), inbound=inbound)


def _message_new(scenario: Scenario, times: dict[str, Any], *, inbound: bool) -> dict[str, Any]:
    return {
        "chat": {**scenario.chat, "health_status": scenario.health},
        "id": scenario.message_id,
        "direction": "inbound" if inbound else "outbound",
        "sender_handle": scenario.handle(scenario.customer if inbound else scenario.line),
        "parts": [{"type": "text", "value": scenario.text}],
        "effect": None,
        "reply_to": None,
        "idempotency_key": None,
        "preferred_service": None,
        **times,
        "service": scenario.service,
    }


def _message_old(scenario: Scenario, times: dict[str, Any], *, inbound: bool) -> dict[str, Any]:
    sender = scenario.customer if inbound else scenario.line
    data: dict[str, Any] = {
        "chat_id": scenario.chat_id,
        "from": sender,
        "from_handle": scenario.handle(sender),
        "recipient_phone": scenario.line if inbound else None,
        "recipient_handle": scenario.handle(scenario.line) if inbound else None,
        "is_from_me": not inbound,
        "is_group": scenario.is_group,
        "service": scenario.service,
        "preferred_service": None,
        "idempotency_key": None,
        "received_at": scenario.at if inbound else None,
        "message": {
            "id": scenario.message_id,
            "parts": [{"type": "text", "value": scenario.text}],
            "is_delivered": times["delivered_at"] is not None,
            "is_read": times["read_at"] is not None,
            **times,
            "created_at": scenario.at,
            "updated_at": scenario.at,
        },
    }
    latest = next((name for name in ("read_at", "delivered_at") if times[name]), None)
    return data if latest is None else {**data, "message_id": scenario.message_id, latest: times[latest]}


def _failed(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "chat_id": scenario.chat_id,
        "message_id": scenario.message_id,
        "code": scenario.code,
        "reason": FAILURES[scenario.code],
        "detail_code": None,
        "service": scenario.service,
        "preferred_service": None,
        "failed_at": scenario.at,
    }


def _edited(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "chat": {**scenario.chat, "health_status": scenario.health},
        "id": scenario.message_id,
        "direction": scenario.direction,
        "sender_handle": scenario.handle(scenario.actor),
        "part": {"index": 0, "text": scenario.text},
        "edited_at": scenario.at,
    }


def reaction(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    """Build a tapback; added and removed events have the same id."""
    return {
        "chat_id": scenario.chat_id,
        "message_id": scenario.message_id,
        "part_index": 0,
        "reaction_id": scenario.id_of(f"reaction by {scenario.actor}"),
        "reaction_type": "like",
        "custom_emoji": None,
        "sticker": None,
        "is_from_me": scenario.ours,
        "from": scenario.actor,
        "from_handle": scenario.handle(scenario.actor),
        "service": scenario.service,
        "reacted_at": scenario.at,
    }


BUILDERS: dict[str, Builder] = {
    "message.sent": _message,
    "message.received": _message,
    "message.read": _message,
    "message.delivered": _message,
    "message.failed": _failed,
    "message.edited": _edited,
    "reaction.added": reaction,
    "reaction.removed": reaction,
}
