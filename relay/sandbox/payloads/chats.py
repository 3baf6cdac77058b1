"""What chats tell: `chat.*` and `participant.*`, as the SDK has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.versions import OLD

if TYPE_CHECKING:
    from relay.sandbox.payloads.scene import Builder, Scene

_CHANGE_FAILED = 4001
"""The code that every kind of chat update can fail with."""


def _created(_: str, scene: Scene, version: str) -> dict[str, Any]:
    members = (scene.line, scene.customer, *scene.others)
    data = {
        "id": scene.chat_id,
        "display_name": ", ".join(members),
        "service": scene.service,
        "is_group": scene.is_group,
        "handles": [scene.handle(member) for member in members],
        "created_at": scene.at,
        "updated_at": scene.at,
    }
    return data if version == OLD else {**data, "health_status": scene.health}


def _typing(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"chat_id": scene.chat_id, "actor_handle": scene.handle(scene.customer)}


def _added(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "handle": scene.actor,
        "participant": scene.handle(scene.actor),
        "added_at": scene.at,
    }


def _removed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "handle": scene.actor,
        "participant": {**scene.handle(scene.actor), "status": "removed", "left_at": scene.at},
        "removed_at": scene.at,
    }


def _group_value(scene: Scene, new_value: str) -> dict[str, Any]:
    return {
        "chat_id": scene.chat_id,
        "old_value": None,
        "new_value": new_value,
        "changed_by_handle": scene.handle(scene.actor),
        "updated_at": scene.at,
    }


def _group_name(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return _group_value(scene, scene.text)


def _group_icon(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return _group_value(scene, f"https://cdn.linqapp.com/group-icons/{scene.chat_id}.png")


def _background(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {
        "chat": scene.chat,
        "actor_handle": scene.handle(scene.actor),
        "background": {"type": "color", "variant": "custom", "shades": ["#1d3557", "#a8dadc"]},
    }


def _update_failed(_: str, scene: Scene, __: str) -> dict[str, Any]:
    return {"chat_id": scene.chat_id, "error_code": _CHANGE_FAILED, "failed_at": scene.at}


BUILDERS: dict[str, Builder] = {
    "participant.added": _added,
    "participant.removed": _removed,
    "chat.created": _created,
    "chat.group_name_updated": _group_name,
    "chat.group_icon_updated": _group_icon,
    "chat.group_name_update_failed": _update_failed,
    "chat.group_icon_update_failed": _update_failed,
    "chat.background_updated": _background,
    "chat.background_update_failed": _update_failed,
    "chat.typing_indicator.started": _typing,
    "chat.typing_indicator.stopped": _typing,
}
