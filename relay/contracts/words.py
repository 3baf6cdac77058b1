"""Enumerations that are Linq's own words: the values that may stay in a payload whose content is removed.

By the key that has them, so that a person's text that happens to be such a word is removed like any other. They are
those of the SDK's models of webhooks, which a test compares, and of v2's documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS: Mapping[str, frozenset[str]] = {
    "animation": frozenset({"big", "bloom", "explode", "jitter", "nod", "ripple", "shake", "small"}),
    "call_type": frozenset({"normal"}),
    "direction": frozenset({"inbound", "outbound"}),
    "interval": frozenset({"day", "month", "week", "year"}),
    "line_type": frozenset({"RCS", "iMessage"}),
    "method": frozenset({"apple", "code", "google", "linkedin", "sso"}),
    "mode": frozenset({"payment", "subscription"}),
    "new_reputation": frozenset({"AT_RISK", "CRITICAL", "HEALTHY"}),
    "new_status": frozenset({"ACTIVE", "FLAGGED"}),
    "origin": frozenset({"api", "dashboard", "linq"}),
    "preferred_service": frozenset({"RCS", "SMS", "auto", "iMessage"}),
    "previous_reputation": frozenset({"AT_RISK", "CRITICAL", "HEALTHY"}),
    "previous_status": frozenset({"ACTIVE", "FLAGGED"}),
    "rail": frozenset({"natural", "stripe"}),
    "reaction": frozenset({"custom", "dislike", "emphasize", "laugh", "like", "love", "question", "sticker"}),
    "reaction_type": frozenset({"custom", "dislike", "emphasize", "laugh", "like", "love", "question", "sticker"}),
    "role": frozenset({"admin", "manager", "member"}),
    "service": frozenset({"RCS", "SMS", "iMessage"}),
    "status": frozenset(
        {
            "AT_RISK",
            "CRITICAL",
            "HEALTHY",
            "OPTED_OUT",
            "active",
            "canceled",
            "completed",
            "expired",
            "failed",
            "left",
            "removed",
            "succeeded",
        }
    ),
    "style": frozenset({"aurora", "bold", "glitter", "italic", "sky", "strikethrough", "underline", "water"}),
    "type": frozenset(
        {
            "api",
            "app_clip",
            "bubble",
            "color",
            "dynamic",
            "environment",
            "imessage_app",
            "link",
            "media",
            "photo",
            "screen",
            "system",
            "team_member",
            "text",
            "unknown",
        }
    ),
}
