"""The end of a growth, from its decision on: any process that has the target's shards can bring it about.

    fences     the old shards are fenced and the new ones opened, if no process has placed an event since
    inboxes    it waits until what was accepted before the fences is routed
    copies     what belongs to the chats that move is copied once more
    lanes      it waits until each ordered lane is open on the new shards

A step does what can be done now, and nothing that is done already, so it is repeated until nothing is left. A worker
takes one every few seconds (`workers.maintenance.growing`), and `relay shards apply` while it waits for the end; both
may at once, since each write does nothing the second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.sharding.growth.copies import copy_backfilled, copy_chats, create_pull_groups
from relay.store.sharding.growth.order_gate import open_lanes, passed_fence
from relay.store.sharding.growth.state import note_time, read_growth
from relay.store.sharding.growth.watch import current_placement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relay.store.driver.client import Redis
    from relay.store.driver.replication import Replication
    from relay.store.sharding.growth.order_gate import OrderedLane
    from relay.store.sharding.growth.state import Growth

    Tell = Callable[[str], None]

_MAX_NAMED = 5


class Completion:
    """The steps of a growth that follow its decision."""

    def __init__(self, home: Redis, window_ms: int, replication: Replication | None, tell: Tell) -> None:
        """`window_ms` is the dedupe's; `tell` is given what was copied."""
        self._home = home
        self._window_ms = window_ms
        self._replication = replication
        self._tell = tell

    async def step(self, lanes: Sequence[OrderedLane], now_ms: int) -> str:
        """Do what can be done now; return what is waited for, in words, empty if the growth is done.

        `lanes` are the ordered ones of all subscriptions.

        Raises:
            WrongNumberOfShards: this process has another number of shards than the relay.
        """
        growth = await read_growth(self._home)
        if growth is None or not growth.is_decided or growth.done_ms is not None:
            return ""
        if growth.advanced_ms is None:
            await current_placement(self._home, self._window_ms, now_ms, self._replication)
        if left := await self._unrouted(growth):
            return left
        if growth.completed_ms is None:
            await copy_all(self._home, growth, self._tell)
            await note_time(self._home, "completed", now_ms)
        if closed := await open_lanes(self._home, lanes, now_ms):
            names = named([f"{name} ({reason})" for name, reason in closed.items()])
            return f"ordered subscriptions deliver on the new shards when they are done on the old ones: {names}"
        await note_time(self._home, "done", now_ms)
        return ""

    async def _unrouted(self, growth: Growth) -> str:
        old = self._home.shards[: growth.former]
        left = [str(number) for number, shard in enumerate(old) if not await passed_fence(shard, growth.target)]
        return (
            f"workers route what was accepted before, on shard{'' if len(left) == 1 else 's'} {named(left)}"
            if left
            else ""
        )


async def copy_all(home: Redis, growth: Growth, tell: Tell) -> None:
    """Copy what belongs to the chats that move beside their events."""
    looked_at = 0

    def copied(count: int) -> None:
        nonlocal looked_at
        former, looked_at = looked_at, looked_at + count
        if former // 100_000 != looked_at // 100_000:
            tell(f"{looked_at} chats looked at")

    chats = await copy_chats(home, growth, copied)
    marks = await copy_backfilled(home, growth)
    groups = await create_pull_groups(home, growth)
    tell(f"copied: the lines of {chats} chats, {marks} marks of backfilled messages, {groups} pull groups")


def named(names: list[str]) -> str:
    """Return the first names, and how many there are more."""
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
