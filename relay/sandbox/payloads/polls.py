"""What polls tell: `poll.*`, as the SDK has it. A poll is a message whose options carry votes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.messages import FAILURES, reaction, receipts

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene


def _base(scene: Scene, direction: str, sender: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "chat": scene.chat,
        "message_id": scene.message_id,
        "direction": direction,
        "service": scene.service,
        "sender_handle": sender,
    }


def _option(scene: Scene, text: str, creator: str) -> dict[str, Any]:
    return {
        "option_id": scene.id_of(f"option {text}"),
        "text": text,
        "can_be_edited": True,
        "creator_handle": scene.handle(creator),
        "voters": [],
    }


def _poll(scene: Scene, creator: str) -> dict[str, Any]:
    """The poll as it was made: nobody has voted yet."""
    return {"options": [_option(scene, text, creator) for text in scene.options], "total_voters": 0}


def _received(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        **_base(scene, "inbound", scene.handle(scene.customer)),
        "poll": _poll(scene, scene.customer),
        "created_at": scene.at,
        "updated_at": scene.at,
        "received_at": scene.at,
    }


def _sent(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    return {
        **_base(scene, "outbound", scene.handle(scene.line)),
        "poll": _poll(scene, scene.line),
        "created_at": scene.at,
        "updated_at": scene.at,
        **receipts(event_type, scene),
    }


def _failed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        **_base(scene, "outbound", None),  # the send never landed
        "poll": _poll(scene, scene.line),
        "error": {"code": scene.code, "message": FAILURES[scene.code]},
        "failed_at": scene.at,
    }


def _updated(_: str, scene: Scene, __: str) -> dict[str, Any]:
    """An option more. The sender is the line, whoever added it; that stands in the option."""
    return {
        **_base(scene, scene.direction, scene.handle(scene.line)),
        "added_options": [_option(scene, scene.options[-1], scene.actor)],
    }


def _vote(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        **_base(scene, scene.direction, scene.handle(scene.actor)),
        "option_id": scene.id_of(f"option {scene.options[-1]}"),
    }


def _reaction(event_type: str, scene: Scene, version: str) -> dict[str, Any]:
    """A sticker: the only reaction a poll can get, and one that stays."""
    sticker = {
        "url": f"https://cdn.linqapp.com/stickers/{scene.id_of('sticker')}.png",
        "file_name": "sticker.png",
        "mime_type": "image/png",
        "width": 320,
        "height": 320,
    }
    return {**reaction(event_type, scene, version), "reaction_type": "sticker", "sticker": sticker}


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
