"""Turns: of one chat one delivery at a time, the oldest first; chats do not wait for each other.

A delivery joins the line of its chat, begins when it is the first and no other of the chat is under way, rests while
it waits for another attempt (and stays where it is in the line), and leaves when it is settled. A chat can be held up
by one delivery: then no other of it begins until it is let go.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

Ref = TypeVar("Ref", bound="Hashable")


class ChatOrder(Generic[Ref]):
    """Who may go next; refs name deliveries and are never looked into."""

    def __init__(self) -> None:
        self._chats: dict[Ref, str] = {}
        self._lines: dict[str, list[tuple[Any, Ref]]] = {}
        self._under_way: dict[str, Ref] = {}
        self._blocked: Mapping[str, Ref] = {}

    def __len__(self) -> int:
        """How many stand in line, those under way included."""
        return len(self._chats)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._chats

    @property
    def are_blocked(self) -> bool:
        """Whether any chat is held up."""
        return bool(self._blocked)

    def add(self, ref: Ref, chat: str, order: Any) -> None:
        """Takes its place in the line of `chat`, by `order`; nothing if it stands there."""
        if ref not in self._chats:
            self._chats[ref] = chat
            insort(self._lines.setdefault(chat, []), (order, ref))

    def start(self, ref: Ref) -> bool:
        """Whether `ref` may go now; if so, it is under way. One that never joined always may."""
        chat = self._chats.get(ref)
        if chat is None:
            return True
        if self._under_way.get(chat, ref) != ref or self._blocked.get(chat, self._first(chat)) != ref:
            return False
        self._under_way[chat] = ref
        return True

    def wait(self, ref: Ref) -> Ref | None:
        """`ref` waits for another attempt; who is the first of its chat now, if that is somebody else."""
        chat = self._end(ref)
        first = self._first(chat) if chat is not None else None
        return None if first == ref else first

    def remove(self, ref: Ref) -> Ref | None:
        """`ref` is settled; who is the first of its chat now, if anybody."""
        chat = self._end(ref)
        if chat is None:
            return None
        del self._chats[ref]
        line = self._lines[chat]
        line[:] = [place for place in line if place[1] != ref] if line[0][1] != ref else line[1:]
        if not line:
            del self._lines[chat]
        return self._first(chat)

    def block(self, chats: Mapping[str, Ref]) -> list[Ref]:
        """Says which chats are held up from now on, each by whom; who may go that could not before."""
        before, self._blocked = self._blocked, chats
        firsts = map(self._first, before.keys() - chats.keys())
        holders = [ref for chat, ref in chats.items() if before.get(chat) != ref]
        return holders + [first for first in firsts if first is not None]

    def hold(self, chat: str, ref: Ref) -> None:
        """`ref` holds up `chat`, besides those that are held up."""
        self._blocked = {**self._blocked, chat: ref}

    def _first(self, chat: str) -> Ref | None:
        line = self._lines.get(chat)
        return line[0][1] if line else None

    def _end(self, ref: Ref) -> str | None:
        """Its attempt is over; its chat."""
        chat = self._chats.get(ref)
        if chat is not None and self._under_way.get(chat) == ref:
            del self._under_way[chat]
        return chat
