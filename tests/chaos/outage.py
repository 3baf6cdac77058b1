"""The outage of a server of Redis: it was killed, its replica took its place, and it stays away for long.

Its successor then has the only copy of the data. So a fault that may affect the successor waits until the outage is
over, that is, until the server has returned and is a replica in sync. Faults of other servers need not wait.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(slots=True)
class Outage:
    """The outage of one server at most."""

    away: int = 0
    """The port of the server that is away, until it is a replica in sync; 0 if there is none."""
    successor: int = 0
    """The port of the primary that took its place."""
    _returning: asyncio.Task[None] | None = None

    def begin(self, away: int, successor: int, seconds: float, bring_back: Callable[[], Awaitable[None]]) -> None:
        """Note which server is away; after so many seconds `bring_back` makes it a replica in sync."""
        self.away, self.successor = away, successor
        self._returning = asyncio.create_task(self._return(seconds, bring_back), name="end of an outage")

    async def over(self) -> None:
        """Wait until no server is away; raise the error of its return."""
        if self._returning is not None:
            await asyncio.shield(self._returning)

    async def close(self) -> None:
        """Leave the server as it is."""
        await end_task(self._returning)

    async def _return(self, seconds: float, bring_back: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(seconds)
        await bring_back()
        self.away = self.successor = 0
