"""What an event is about, whichever version of whichever API tells of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from relay.sandbox.state import rfc3339

_JOINED = "2026-01-05T09:00:00.000Z"
_NAMES = (("Mara", "Osei"), ("Ana", "Ruiz"), ("Theo", "Lindqvist"), ("Priya", "Nair"), ("Sam", "Okafor"))


@dataclass(frozen=True, slots=True)
class Scene:
    """Who talks with which line, where, and what is said; the same scene always makes the same payload."""

    line: str
    customer: str = "+13035550188"
    others: tuple[str, ...] = ()
    """The other members of a group: numbers, or the e-mail addresses of Apple IDs."""
    chat_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """The message, poll or call that it is about."""
    text: str = "Is the 3pm slot free?"
    """What is said; of a group, its new name."""
    service: str = "iMessage"
    is_group: bool = False
    ours: bool = False
    """The line acts, where either side can: it calls, edits, reacts, votes or renames. Else the customer does."""
    options: tuple[str, ...] = ("3pm", "4pm")
    """A poll's; a vote or an update is about the last of them."""
    code: int = 4001
    """Why sending failed: one of `messages.FAILURES`."""
    flagged: bool = True
    """What a change of the line's status comes to: flagged, or healthy again."""
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it happened; of a message, when it was sent."""
    told: datetime | None = None
    """When this event of it happened, such as its being read; None for the same moment."""

    def next_message(self, text: str, message_id: str) -> Scene:
        """The same chat, another message."""
        return replace(self, text=text, message_id=message_id)

    @property
    def at(self) -> str:
        """The moment, as v3 writes it."""
        return rfc3339(self.moment)

    @property
    def told_at(self) -> str:
        """The moment of this event, as v3 writes it."""
        return rfc3339(self.told or self.moment)

    @property
    def actor(self) -> str:
        """Who acts, where either side can."""
        return self.line if self.ours else self.customer

    @property
    def other_side(self) -> str:
        """Who is at the other end from the actor."""
        return self.customer if self.ours else self.line

    @property
    def direction(self) -> str:
        """Which way it goes, where it can go either way."""
        return "outbound" if self.ours else "inbound"

    @property
    def chat(self) -> dict[str, Any]:
        """The chat, in short."""
        return {"id": self.chat_id, "is_group": self.is_group, "owner_handle": self.handle(self.line)}

    @property
    def health(self) -> dict[str, Any]:
        """The chat's health, which is good."""
        return {
            "status": "HEALTHY",
            "doc_url": "https://docs.linqapp.com/guides/chats/chat-health#healthy",
            "updated_at": self.at,
        }

    def handle(self, of: str) -> dict[str, Any]:
        """A v3 ChatHandle, of the line or of anyone else."""
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, of)),
            "handle": of,
            "is_me": of == self.line,
            "service": self.service,
            "status": "active",
            "joined_at": _JOINED,
            "left_at": None,
        }

    def id_of(self, what: str) -> str:
        """The id of something that belongs to the message, such as a reaction to it."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{what} of {self.message_id}"))


def name_of(handle: str) -> tuple[str, str]:
    """The first and last name of whoever has this handle."""
    return _NAMES[sum(handle.encode()) % len(_NAMES)]


Builder = Callable[[str, Scene, str], dict[str, Any]]
"""Makes the `data` of an event type from a scene, for a payload version."""
