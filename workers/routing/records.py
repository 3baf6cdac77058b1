"""Records that a router keeps beside its routing: the activity of lines, and the watch over contracts.

Both are written now and then, in up to seven round trips, by a task of their own: no event waits for them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.process.tasks import end_task
from relay.store.lines.activity import ActivityCounter
from workers.routing.contract_watch import ContractWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.core.event import Event
    from relay.store.driver.client import Redis
    from relay.store.lines.activity import Tally


class Records:
    """The records of one router."""

    def __init__(self, home: Redis, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds; the first shard, `home`, has the records of the routers of all."""
        self._activity = ActivityCounter(home)
        self._contracts = ContractWatch(home, clock)
        self._writing: asyncio.Task[None] | None = None

    def decoded(self, events: Sequence[tuple[Event, bytes]]) -> None:
        """Count what was read from events, each with its body."""
        self._contracts.add(events)

    def routed(self, tally: Tally) -> None:
        """Count the lines of a batch that was committed."""
        self._activity.add(tally)

    def write_if_due(self) -> None:
        """Start to write what is due, unless that is still under way.

        Raises:
            Exception: the last writing ended with a bug.
        """
        if not (self._contracts.is_due or self._activity.is_due):
            return
        if self._writing is not None:
            if not self._writing.done():
                return
            self._writing.result()
        self._writing = asyncio.create_task(self._write(), name="router's records")

    async def _write(self) -> None:
        if self._contracts.is_due:
            await self._contracts.store()
        await self._activity.write()

    async def finish(self) -> None:
        """Write everything, at the end of a drain."""
        if self._writing is not None:
            await self._writing
        await self._contracts.store()
        await self._activity.write(at_once=True)

    async def stop(self) -> None:
        """Write no more."""
        writing, self._writing = self._writing, None
        await end_task(writing)
