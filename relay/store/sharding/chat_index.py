"""The fields of the chat -> line index, which the inbox learns (`inbox.chat_lines`) and a growth copies."""

from __future__ import annotations

LIFETIME = 90 * 86400.0
"""Seconds that a chat stays in the index after the last event that proved its line."""


def chat_in(field: str) -> str:
    """Return the id of the chat of a field: `v3:<chat id>` or `v2:<chat id>`."""
    return field.partition(":")[2]
