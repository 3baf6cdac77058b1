"""Payloads of polls: `poll.*`, as defined by the SDK. A poll is a message with options that carry votes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.messages import FAILURES, reaction, receipts

if TYPE_CHECKING:
    from relay.sandbox.payloads.scenario import Builder, Scenario


def _base(scenario: Scenario, direction: str, sender: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "chat": scenario.chat,
        "message_id": scenario.message_id,
        "direction": direction,
        "service": scenario.service,
        "sender_handle": sender,
    }


def _option(scenario: Scenario, text: str, creator: str) -> dict[str, Any]:
    return {
        "option_id": scenario.id_of(f"option {text}"),
        "text": text,
        "can_be_edited": True,
        "creator_handle": scenario.handle(creator),
        "voters": [],
    }


def _poll(scenario: Scenario, creator: str) -> dict[str, Any]:
    """Build a new poll, without votes."""
    return {"options": [_option(scenario, text, creator) for text in scenario.options], "total_voters": 0}


def _received(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        **_base(scenario, "inbound", scenario.handle(scenario.customer)),
        "poll": _poll(scenario, scenario.customer),
        "created_at": scenario.at,
        "updated_at": scenario.at,
        "received_at": scenario.at,
    }


def _sent(event_type: str, scenario: Scenario, _: str) -> dict[str, Any]:
    return {
        **_base(scenario, "outbound", scenario.handle(scenario.line)),
        "poll": _poll(scenario, scenario.line),
        "created_at": scenario.at,
        "updated_at": scenario.at,
        **receipts(event_type, scenario),
    }


def _failed(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        **_base(scenario, "outbound", None),  # the message was never sent
        "poll": _poll(scenario, scenario.line),
        "error": {"code": scenario.code, "message": FAILURES[scenario.code]},
        "failed_at": scenario.at,
    }


def _updated(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    """Build an added option. The sender is always the line; the creator is in the option."""
    return {
        **_base(scenario, scenario.direction, scenario.handle(scenario.line)),
        "added_options": [_option(scenario, scenario.options[-1], scenario.actor)],
    }


def _vote(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        **_base(scenario, scenario.direction, scenario.handle(scenario.actor)),
        "option_id": scenario.id_of(f"option {scenario.options[-1]}"),
    }


def _reaction(event_type: str, scenario: Scenario, version: str) -> dict[str, Any]:
    """Build a sticker: the only kind of reaction to a poll, and it cannot be removed."""
    sticker = {
        "url": f"https://cdn.linqapp.com/stickers/{scenario.id_of('sticker')}.png",
        "file_name": "sticker.png",
        "mime_type": "image/png",
        "width": 320,
        "height": 320,
    }
    return {**reaction(event_type, scenario, version), "reaction_type": "sticker", "sticker": sticker}


BUILDERS: dict[str, Builder] = {
    "poll.received": _received,
    "poll.failed": _failed,
    "poll.sent": _sent,
    "poll.delivered": _sent,
    "poll.read": _sent,
    "poll.updated": _updated,
    "poll.vote.added": _vote,
    "poll.vote.removed": _vote,
    "poll.reaction.added": _reaction,
}
