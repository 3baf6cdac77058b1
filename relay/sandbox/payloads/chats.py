"""`data` of chats, groups and who takes part in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.scene import OLD

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

_SEND_FAILED = 4001


def _typing(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"chat_id": scene.chat_id, "actor_handle": scene.handle(scene.customer)}


def _chat_created(_: str, scene: Scene, version: str) -> dict[str, Any]:
    data = {
        "id": scene.chat_id,
        "display_name": f"{scene.line}, {scene.customer}",
        "service": scene.service,
        "is_group": scene.is_group,
        "handles": [scene.handle(scene.line), scene.handle(scene.customer)],
        "created_at": scene.at,
        "updated_at": scene.at,
    }
    return data if version == OLD else {**data, "health_status": scene.chat["health_status"]}


def _participant(event_type: str, scene: Scene, _: str) -> dict[str, Any]:
    when = "added_at" if event_type == "participant.added" else "removed_at"
    return {
        "chat_id": scene.chat_id,
        "handle": scene.customer,
        "participant": scene.handle(scene.customer),
        when: scene.at,
    }


def _group_name(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "old_value": None,
        "new_value": scene.text,
        "changed_by_handle": scene.handle(scene.customer),
        "updated_at": scene.at,
    }


def _group_icon(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "old_value": None,
        "new_value": f"https://cdn.linqapp.com/icons/{scene.chat_id}.png",
        "changed_by_handle": scene.handle(scene.customer),
        "updated_at": scene.at,
    }


def _background(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat": scene.bare_chat,
        "actor_handle": scene.handle(scene.customer),
        "background": {"type": "color", "shades": ["#0A84FF", "#5E5CE6"]},
    }


def _update_failed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"chat_id": scene.chat_id, "error_code": _SEND_FAILED, "failed_at": scene.at}


BUILDERS: dict[str, Builder] = {
    "chat.created": _chat_created,
    "chat.typing_indicator.started": _typing,
    "chat.typing_indicator.stopped": _typing,
    "chat.group_name_updated": _group_name,
    "chat.group_icon_updated": _group_icon,
    "chat.background_updated": _background,
    "chat.group_name_update_failed": _update_failed,
    "chat.group_icon_update_failed": _update_failed,
    "chat.background_update_failed": _update_failed,
    "participant.added": _participant,
    "participant.removed": _participant,
}
