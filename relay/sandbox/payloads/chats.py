"""Payloads of chats: `chat.*` and `participant.*`, as defined by the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads.versions import OLD

if TYPE_CHECKING:
    from relay.sandbox.payloads.scenario import Builder, Scenario

_CHANGE_FAILED = 4001
"""Error code of every kind of failed chat update."""


def _created(_: str, scenario: Scenario, version: str) -> dict[str, Any]:
    members = (scenario.line, scenario.customer, *scenario.others)
    data = {
        "id": scenario.chat_id,
        "display_name": ", ".join(members),
        "service": scenario.service,
        "is_group": scenario.is_group,
        "handles": [scenario.handle(member) for member in members],
        "created_at": scenario.at,
        "updated_at": scenario.at,
    }
    return data if version == OLD else {**data, "health_status": scenario.health}


def _typing(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {"chat_id": scenario.chat_id, "actor_handle": scenario.handle(scenario.customer)}


def _added(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "chat_id": scenario.chat_id,
        "handle": scenario.actor,
        "participant": scenario.handle(scenario.actor),
        "added_at": scenario.at,
    }


def _removed(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "chat_id": scenario.chat_id,
        "handle": scenario.actor,
        "participant": {**scenario.handle(scenario.actor), "status": "removed", "left_at": scenario.at},
        "removed_at": scenario.at,
    }


def _group_value(scenario: Scenario, new_value: str) -> dict[str, Any]:
    return {
        "chat_id": scenario.chat_id,
        "old_value": None,
        "new_value": new_value,
        "changed_by_handle": scenario.handle(scenario.actor),
        "updated_at": scenario.at,
    }


def _group_name(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return _group_value(scenario, scenario.text)


def _group_icon(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return _group_value(scenario, f"https://cdn.linqapp.com/group-icons/{scenario.chat_id}.png")


def _background(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {
        "chat": scenario.chat,
        "actor_handle": scenario.handle(scenario.actor),
        "background": {"type": "color", "variant": "custom", "shades": ["#1d3557", "#a8dadc"]},
    }


def _update_failed(_: str, scenario: Scenario, __: str) -> dict[str, Any]:
    return {"chat_id": scenario.chat_id, "error_code": _CHANGE_FAILED, "failed_at": scenario.at}


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
