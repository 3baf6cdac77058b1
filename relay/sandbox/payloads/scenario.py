"""The content of an event, independent of API and payload version."""

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
class Scenario:
    """Line, customer, chat and message of an event; the same scenario always makes the same payload."""

    line: str
    customer: str = "+13035550188"
    others: tuple[str, ...] = ()
    """Other members of a group: numbers, or the e-mail addresses of Apple IDs."""
    chat_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Id of the message, poll or call."""
    text: str = "Is the 3pm slot free?"
    """Text of the message, or the new name of a group."""
    service: str = "iMessage"
    is_group: bool = False
    ours: bool = False
    """True if the line is the actor of a call, edit, reaction, vote or rename; else the customer."""
    options: tuple[str, ...] = ("3pm", "4pm")
    """Options of a poll; votes and updates concern the last one."""
    code: int = 4001
    """Error code of a failure: one of `messages.FAILURES`."""
    flagged: bool = True
    """New status in a change of the line's status: True for flagged, False for healthy."""
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Time of the event; of a message event, the time of sending."""
    event_time: datetime | None = None
    """Time of a later event of the message, such as reading; None for the same as `occurred_at`."""

    def next_message(self, text: str, message_id: str) -> Scenario:
        """Return a scenario with another message in the same chat."""
        return replace(self, text=text, message_id=message_id)

    @property
    def at(self) -> str:
        """`occurred_at` in the format of v3."""
        return rfc3339(self.occurred_at)

    @property
    def event_at(self) -> str:
        """`event_time` in the format of v3."""
        return rfc3339(self.event_time or self.occurred_at)

    @property
    def actor(self) -> str:
        """Handle of the actor: line or customer."""
        return self.line if self.ours else self.customer

    @property
    def other_side(self) -> str:
        """Handle of the side that is not the actor."""
        return self.customer if self.ours else self.line

    @property
    def direction(self) -> str:
        """Direction by the actor: outbound if it is the line."""
        return "outbound" if self.ours else "inbound"

    @property
    def chat(self) -> dict[str, Any]:
        """Summary of the chat."""
        return {"id": self.chat_id, "is_group": self.is_group, "owner_handle": self.handle(self.line)}

    @property
    def health(self) -> dict[str, Any]:
        """Health of the chat, always healthy."""
        return {
            "status": "HEALTHY",
            "doc_url": "https://docs.linqapp.com/guides/chats/chat-health#healthy",
            "updated_at": self.at,
        }

    def handle(self, address: str) -> dict[str, Any]:
        """Build a v3 ChatHandle for the line or another participant."""
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, address)),
            "handle": address,
            "is_me": address == self.line,
            "service": self.service,
            "status": "active",
            "joined_at": _JOINED,
            "left_at": None,
        }

    def id_of(self, name: str) -> str:
        """Derive the id of an object that belongs to the message, such as a reaction."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} of {self.message_id}"))


def name_of(handle: str) -> tuple[str, str]:
    """Return the first and last name of the customer with this handle."""
    return _NAMES[sum(handle.encode()) % len(_NAMES)]


Builder = Callable[[str, Scenario, str], dict[str, Any]]
"""Builds the `data` of an event type from a scenario, for a payload version."""
