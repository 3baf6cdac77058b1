"""Order per chat of events that are handled at the same time: pure bookkeeping, for tasks and for threads."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .event import Event

_MAX_WAITING = 100
"""Events that wait for another one of their chat; with more, no others are taken."""


class Lanes:
    """Events that one member has taken: of each chat one at a time is ready or being handled, the others wait."""

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is 1 or more, not {concurrency}")
        self._concurrency = concurrency
        self._ready: deque[Event] = deque()
        self._waiting: dict[bytes, deque[Event]] = {}
        """By chat that has an event which is ready or being handled."""
        self._paused: set[Event] = set()
        self._running = self._size = 0

    @property
    def is_empty(self) -> bool:
        """True if no event is being handled, and none could be."""
        return not (self._running or self._ready)

    @property
    def is_full(self) -> bool:
        """True if there is enough to do for now. Events of a busy chat may wait here while others are looked for."""
        return len(self._ready) >= self._concurrency or self._size >= self._concurrency + _MAX_WAITING

    def add(self, event: Event) -> None:
        """Take an event."""
        self._size += 1
        chat = event.fields.get(b"chat")
        if not chat:
            self._ready.append(event)
        elif chat in self._waiting:
            self._waiting[chat].append(event)
        else:
            self._waiting[chat] = deque()
            self._ready.append(event)

    def start(self) -> Event | None:
        """Return an event whose handler may begin now."""
        if self._running >= self._concurrency or not self._ready:
            return None
        self._running += 1
        event = self._ready.popleft()
        event.began = True
        return event

    def pause(self, event: Event) -> None:
        """Have the chat of an event wait when its handler ends, until it is resumed."""
        self._paused.add(event)

    def resume(self, event: Event, again: Event | None) -> None:
        """Let a paused event be handled `again`; with None, the next one of its chat."""
        self._paused.discard(event)
        if again is None:
            self._leave(event)
        else:
            self._ready.appendleft(again)

    def finish(self, event: Event) -> None:
        """Let the next event of the chat be handled, unless this one is paused."""
        self._running -= 1
        if event not in self._paused:
            self._leave(event)

    def _leave(self, event: Event) -> None:
        self._size -= 1
        chat = event.fields.get(b"chat")
        if not chat:
            return
        if waiting := self._waiting[chat]:
            self._ready.append(waiting.popleft())
        else:
            del self._waiting[chat]
