"""`data` of polls."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.messages import reaction

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

_CHOICES = ("Monday", "Thursday")
_LATER_CHOICE = "Saturday"
_SEND_FAILED = 4001


def _poll(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    inbound = event_type == "poll.received"
    data = {
        **_about(scene, inbound=inbound),
        "poll": {"options": [_option(scene, text, inbound=inbound) for text in _CHOICES], "total_voters": 0},
        "created_at": scene.at,
        "updated_at": scene.at,
    }
    if inbound:
        return {**data, "received_at": scene.at}
    was_read = event_type == "poll.read"
    return {
        **data,
        "sent_at": scene.at,
        "delivered_at": scene.at if was_read or event_type == "poll.delivered" else None,
        "read_at": scene.at if was_read else None,
    }


def _failed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        **_about(scene, inbound=False),
        "poll": {"options": [_option(scene, text, inbound=False) for text in _CHOICES], "total_voters": 0},
        "error": {"code": _SEND_FAILED, "message": "Message send failed"},
        "failed_at": scene.at,
    }


def _updated(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {**_about(scene, inbound=True), "added_options": [_option(scene, _LATER_CHOICE, inbound=True)]}


def _vote(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {**_about(scene, inbound=True), "option_id": _option_id(scene, _CHOICES[0])}


def _about(scene: Scene, *, inbound: bool) -> dict[str, Any]:
    return {
        "chat": scene.bare_chat,
        "message_id": scene.message_id,
        "direction": "inbound" if inbound else "outbound",
        "sender_handle": scene.handle(scene.customer if inbound else scene.line),
        "service": scene.service,
    }


def _option(scene: Scene, text: str, *, inbound: bool) -> dict[str, Any]:
    return {
        "option_id": _option_id(scene, text),
        "text": text,
        "can_be_edited": False,
        "creator_handle": scene.handle(scene.customer if inbound else scene.line),
        "voters": [],
    }


def _option_id(scene: Scene, text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{scene.message_id} {text}"))


BUILDERS: dict[str, Builder] = {
    "poll.received": _poll,
    "poll.sent": _poll,
    "poll.delivered": _poll,
    "poll.read": _poll,
    "poll.failed": _failed,
    "poll.updated": _updated,
    "poll.vote.added": _vote,
    "poll.vote.removed": _vote,
    "poll.reaction.added": reaction,
}
