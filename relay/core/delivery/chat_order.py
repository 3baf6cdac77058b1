"""Order of deliveries within chats: one delivery of a chat at a time, oldest first; chats do not wait for each other.

A delivery is added to the queue of its chat, starts when it is the first and no other of the chat is in flight, waits
for its next attempt (and keeps its place in the queue), and is removed when it is settled. One delivery can block its
chat: then no other delivery of the chat starts until it is unblocked.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

Ref = TypeVar("Ref", bound="Hashable")


class ChatOrder(Generic[Ref]):
    """Queues of deliveries by chat; refs identify deliveries and are opaque."""

    def __init__(self) -> None:
        self._chats: dict[Ref, str] = {}
        self._queues: dict[str, list[tuple[Any, Ref]]] = {}
        self._in_flight: dict[str, Ref] = {}
        self._blocked: Mapping[str, Ref] = {}

    def __len__(self) -> int:
        """Return the number of queued deliveries, including those in flight."""
        return len(self._chats)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._chats

    @property
    def are_blocked(self) -> bool:
        """True if any chat is blocked."""
        return bool(self._blocked)

    def add(self, ref: Ref, chat: str, order: Any) -> None:
        """Queue a delivery of `chat` by `order`; does nothing if it is queued already."""
        if ref not in self._chats:
            self._chats[ref] = chat
            insort(self._queues.setdefault(chat, []), (order, ref))

    def start(self, ref: Ref) -> bool:
        """Start `ref` and return True if its turn has come; a delivery that was never added can always start."""
        chat = self._chats.get(ref)
        if chat is None:
            return True
        if self._in_flight.get(chat, ref) != ref or self._blocked.get(chat, self._first(chat)) != ref:
            return False
        self._in_flight[chat] = ref
        return True

    def wait(self, ref: Ref) -> Ref | None:
        """End an attempt of `ref`, which waits for its next; return the first delivery of its chat if it is another."""
        chat = self._end(ref)
        first = self._first(chat) if chat is not None else None
        return None if first == ref else first

    def remove(self, ref: Ref) -> Ref | None:
        """Remove `ref`, which is settled; return the delivery of its chat that is now first, if any."""
        chat = self._end(ref)
        if chat is None:
            return None
        del self._chats[ref]
        queue = self._queues[chat]
        queue[:] = [entry for entry in queue if entry[1] != ref] if queue[0][1] != ref else queue[1:]
        if not queue:
            del self._queues[chat]
        return self._first(chat)

    def block(self, chats: Mapping[str, Ref]) -> list[Ref]:
        """Replace the blocked chats, each with its blocking delivery; return the deliveries that can start now."""
        before, self._blocked = self._blocked, chats
        firsts = map(self._first, before.keys() - chats.keys())
        blockers = [ref for chat, ref in chats.items() if before.get(chat) != ref]
        return blockers + [first for first in firsts if first is not None]

    def block_chat(self, chat: str, ref: Ref) -> None:
        """Block `chat` by `ref`, in addition to the chats that are blocked."""
        self._blocked = {**self._blocked, chat: ref}

    def _first(self, chat: str) -> Ref | None:
        queue = self._queues.get(chat)
        return queue[0][1] if queue else None

    def _end(self, ref: Ref) -> str | None:
        """End the attempt of `ref`; return its chat."""
        chat = self._chats.get(ref)
        if chat is not None and self._in_flight.get(chat) == ref:
            del self._in_flight[chat]
        return chat
