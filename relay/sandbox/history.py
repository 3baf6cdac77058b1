"""Chats and messages of the sandbox, as the v3 API returns them: every simulated event of a message changes one.

Events are the only source: a message exists from its first event on, and later events change its status. The number of
messages is bounded; the oldest are forgotten first, and a chat with its last message. The order of chats is arbitrary,
because Linq documents none.
"""

from __future__ import annotations

import bisect
import zlib
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relay.sandbox.payloads import Scenario
from relay.sandbox.state import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MESSAGES = 250_000
_KINDS = ("received", "sent", "delivered", "read", "failed", "edited")
MESSAGE_EVENTS = frozenset(f"message.{kind}" for kind in _KINDS)


@dataclass(slots=True)
class Message:
    """A message of a chat."""

    id: str
    is_from_me: bool
    sender: str
    text: str
    service: str
    sent_at: datetime
    updated_at: datetime
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    reconciled_at: datetime | None = None
    has_failed: bool = False

    @property
    def delivery_status(self) -> str:
        """Status of the message, as Linq names it."""
        if self.has_failed and not self.delivered_at:
            return "failed"
        if not self.is_from_me:
            return "received"
        return "read" if self.read_at else "delivered" if self.delivered_at else "sent"


@dataclass(slots=True)
class Chat:
    """A chat of a line."""

    id: str
    line: str
    members: tuple[str, ...]
    """Handles of the other members."""
    service: str
    is_group: bool
    created_at: datetime
    updated_at: datetime
    messages: deque[Message] = field(default_factory=deque)
    """Oldest first."""

    def as_json(self) -> dict[str, Any]:
        """Return the chat as `GET /v3/chats/{id}` does."""
        seen = Scenario(line=self.line, service=self.service, occurred_at=self.updated_at)
        return {
            "id": self.id,
            "display_name": ", ".join(self.members),
            "service": self.service,
            "handles": [seen.handle(handle) for handle in (self.line, *self.members)],
            "health_status": seen.health,
            "group_chat_icon": None,
            "is_archived": False,
            "is_group": self.is_group,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
        }

    def json_of(self, message: Message) -> dict[str, Any]:
        """Return a message of the chat as `GET /v3/messages/{id}` does."""
        handle = Scenario(line=self.line, service=message.service).handle(message.sender)
        reconciled = {} if message.reconciled_at is None else {"reconciled_at": rfc3339(message.reconciled_at)}
        return {
            "id": message.id,
            "chat_id": self.id,
            "from": message.sender,
            "from_handle": handle,
            "parts": [{"type": "text", "value": message.text, "reactions": None, "text_decorations": None}],
            "is_from_me": message.is_from_me,
            "delivery_status": message.delivery_status,
            "is_delivered": message.delivery_status in {"delivered", "read"},
            "is_read": message.read_at is not None,
            "service": message.service,
            "preferred_service": None,
            "effect": None,
            "reply_to": None,
            "sent_at": rfc3339(message.sent_at),
            "delivered_at": message.delivered_at and rfc3339(message.delivered_at),
            "read_at": message.read_at and rfc3339(message.read_at),
            "created_at": rfc3339(message.sent_at),
            "updated_at": rfc3339(message.updated_at),
            **reconciled,
        }


class History:
    """All chats and messages."""

    def __init__(self, most: int = MAX_MESSAGES) -> None:
        self._most = most
        self._chats: dict[str, Chat] = {}
        self._order: list[tuple[int, str]] = []
        """Checksum and id of each chat, sorted: an arbitrary order that stays."""
        self._messages: dict[str, Chat] = {}
        """Chat of each message, from the oldest to the newest message."""

    @property
    def messages(self) -> int:
        """Number of messages."""
        return len(self._messages)

    def chat(self, chat_id: str) -> Chat | None:
        """Return a chat by its id."""
        return self._chats.get(chat_id)

    def message(self, message_id: str) -> tuple[Chat, Message] | None:
        """Return a message by its id, with its chat."""
        chat = self._messages.get(message_id)
        return None if chat is None else (chat, _find(chat, message_id))

    def chats(self, lines: Iterable[str], member: str | None) -> list[Chat]:
        """Return the chats of these lines in their arbitrary order; with `member`, those that it takes part in."""
        wanted = set(lines)
        found = (self._chats[chat_id] for _, chat_id in self._order)
        return [chat for chat in found if chat.line in wanted and member in {None, chat.line, *chat.members}]

    def record(self, event_type: str, scenario: Scenario, reconciled_at: datetime | None = None) -> None:
        """Apply an event to the message or the chat that it is about; other events change nothing."""
        if event_type in MESSAGE_EVENTS:
            self._record_message(event_type, scenario, reconciled_at)
        elif event_type == "chat.created":
            self._chat_of(scenario)

    def _record_message(self, event_type: str, scenario: Scenario, reconciled_at: datetime | None) -> None:
        chat = self._chat_of(scenario)
        time = scenario.event_time or scenario.occurred_at
        if scenario.message_id in self._messages:
            message = _find(self._messages[scenario.message_id], scenario.message_id)
        else:
            message = self._add(chat, event_type, scenario)
        match event_type:
            case "message.delivered":
                message.delivered_at = time
            case "message.read":
                message.delivered_at, message.read_at = message.delivered_at or time, time
            case "message.failed":
                message.has_failed = True
            case "message.edited":
                message.text = scenario.text
            case _:
                pass
        message.reconciled_at = reconciled_at or message.reconciled_at
        message.updated_at = chat.updated_at = time

    def _add(self, chat: Chat, event_type: str, scenario: Scenario) -> Message:
        is_inbound = event_type == "message.received" or (event_type == "message.edited" and not scenario.ours)
        sender = scenario.customer if is_inbound else scenario.line
        time = scenario.occurred_at
        message = Message(scenario.message_id, not is_inbound, sender, scenario.text, scenario.service, time, time)
        chat.messages.append(message)
        self._messages[message.id] = chat
        while len(self._messages) > self._most:
            self._forget_oldest()
        return message

    def _chat_of(self, scenario: Scenario) -> Chat:
        chat = self._chats.get(scenario.chat_id)
        members = (scenario.customer, *scenario.others)
        if chat is None:
            time = scenario.occurred_at
            chat = Chat(scenario.chat_id, scenario.line, members, scenario.service, scenario.is_group, time, time)
            self._chats[chat.id] = chat
            bisect.insort(self._order, _place(chat.id))
            if len(self._chats) > self._most:
                self._forget(self._chats[next(iter(self._chats))])
        elif not chat.members:
            chat.members = members
        return chat

    def _forget_oldest(self) -> None:
        message_id, chat = next(iter(self._messages.items()))
        del self._messages[message_id]
        chat.messages.popleft()
        if not chat.messages:
            self._forget(chat)

    def _forget(self, chat: Chat) -> None:
        for message in chat.messages:
            self._messages.pop(message.id, None)
        if self._chats.pop(chat.id, None):
            del self._order[bisect.bisect_left(self._order, _place(chat.id))]


def scenario_of(data: Any, line: str | None) -> Scenario | None:
    """Read the content of a message event from its `data` in shape 2026-02-03; None if it has another shape."""
    try:
        chat, sender = data["chat"], data["sender_handle"]["handle"]
        owner, is_inbound = line or chat["owner_handle"]["handle"], data["direction"] == "inbound"
        texts = [part["value"] for part in data["parts"] if part.get("type") == "text"]
        sent_at = datetime.fromisoformat(data["sent_at"]) if data.get("sent_at") else datetime.now(UTC)
        return Scenario(
            line=owner,
            customer=sender if is_inbound else "+13035550188",
            chat_id=str(chat["id"]),
            message_id=str(data["id"]),
            text=" ".join(map(str, texts)),
            service=str(data.get("service") or "iMessage"),
            is_group=chat.get("is_group") is True,
            ours=not is_inbound,
            occurred_at=sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _find(chat: Chat, message_id: str) -> Message:
    return next(message for message in reversed(chat.messages) if message.id == message_id)


def _place(chat_id: str) -> tuple[int, str]:
    return zlib.crc32(chat_id.encode()), chat_id
