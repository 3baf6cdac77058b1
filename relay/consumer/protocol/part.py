"""A shard as a consumer reads it, and what it needs of the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from .member import Member
    from .prefetch import Ask
    from .steps import Signal


class Tools(NamedTuple):
    """Parts that the driver makes, in the loop or the threads that use them."""

    signal: Callable[[], Signal]
    lock: Callable[[], Any]
    start: Callable[[Part], object]
    """Starts `WholeMember.pump` of a shard, which must run by itself."""


class Part:
    """A shard, as a consumer reads it."""

    def __init__(self, member: Member, tools: Tools) -> None:
        self.member = member
        self.reading = member.reading
        self.shard = member.group.shard
        self.lock = tools.lock()
        """Held while its events are claimed or handed back."""
        self.asked = tools.signal()
        self.ask: Ask | None = None
        """The work of its pump; None while it rests."""
        self.until = 0.0
        """Time until which the pump is waited for."""
        self.has_pump = False
        self.has_joined = member.group.shard == 0
