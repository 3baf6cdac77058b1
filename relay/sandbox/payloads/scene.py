"""What an event is about: who talks with which line, where, and what is said."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from relay.sandbox.state import rfc3339

NEW = "2026-02-03"
OLD = "2025-01-01"
Builder = Callable[[str, "Scene", str], dict[str, Any]]
"""Makes `data` from the event type, what it is about, and the payload version."""

_JOINED = "2026-01-05T09:00:00.000Z"


@dataclass(frozen=True, slots=True)
class Scene:
    """What an event is about: who talks with which line, where, and what is said."""

    line: str
    customer: str = "+13035550188"
    chat_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    text: str = "Is the 3pm slot free?"
    service: str = "iMessage"
    is_group: bool = False
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def next_message(self, text: str, message_id: str) -> Scene:
        """The same chat, another message."""
        return replace(self, text=text, message_id=message_id)

    @property
    def at(self) -> str:
        """The moment, as Linq writes it."""
        return rfc3339(self.moment)

    def handle(self, number: str) -> dict[str, Any]:
        """A chat handle, ours or the customer's."""
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, number)),
            "handle": number,
            "is_me": number == self.line,
            "service": self.service,
            "status": "active",
            "joined_at": _JOINED,
            "left_at": None,
        }

    @property
    def bare_chat(self) -> dict[str, Any]:
        """The chat object of polls and backgrounds."""
        return {"id": self.chat_id, "is_group": self.is_group, "owner_handle": self.handle(self.line)}

    @property
    def chat(self) -> dict[str, Any]:
        """The chat object of messages in 2026-02-03."""
        health = {
            "status": "HEALTHY",
            "doc_url": "https://docs.linqapp.com/guides/chats/chat-health#healthy",
            "updated_at": self.at,
        }
        return {**self.bare_chat, "health_status": health}
