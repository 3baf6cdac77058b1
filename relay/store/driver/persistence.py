"""The append-only file of Redis: is it enabled, and can Redis write it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATUSES = ("aof_last_write_status", "aof_last_bgrewrite_status")


def failing_writes(info: Mapping[str, Any]) -> list[str]:
    """Return the fields of `INFO` that say that the append-only file cannot be written."""
    return [name for name in _STATUSES if info.get(name, "ok") != "ok"]


def is_persistent(info: Mapping[str, Any]) -> bool | None:
    """Return True if the append-only file is enabled and can be written; None if `INFO` does not say."""
    return bool(info["aof_enabled"]) and not failing_writes(info) if "aof_enabled" in info else None
