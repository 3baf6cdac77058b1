"""The sweep: the net below the wakeups.

Streams hold the truth and wakeups only say "look", so a wakeup that was lost (arq's keys were flushed, a worker died
between two steps) must not leave work lying. Every few seconds one worker looks at the inbox, at the replays and at
every lane, and rings where there is something to do. Ringing where somebody is already at work changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.store import keys, wakeups
from relay.store.driver.client import ask
from relay.store.lanes.lane import Lane, mark_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile

log = structlog.get_logger()


class Sweeper:
    """Looks for work that nobody was woken for."""

    def __init__(self, redis: Redis, rules: ConfigFile, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._clock = clock

    async def sweep(self) -> None:
        """Rings every wakeup that has something to do, and saves each lane's checkpoint."""
        await self.check_inbox()
        await self.check_replays()
        for partition in range(wakeups.PARTITIONS):
            await self.check_partition(partition)
        for lane in self._lanes():
            await lane.save_checkpoint()

    async def check_inbox(self) -> None:
        """Rings the router if the inbox has entries."""
        if await self._redis.xlen(keys.INBOX):
            await wakeups.wake(self._redis, wakeups.ROUTE)

    async def check_replays(self) -> None:
        """Wakes whoever moves replays on if any has not ended."""
        if await ask(self._redis.scard(keys.REPLAYS_RUNNING)):
            await wakeups.wake(self._redis, wakeups.REPLAY)

    async def check_partition(self, partition: int) -> None:
        """Wake the worker of `partition`: now if a lane has new events, else when its next retry is due."""
        now_ms = round(self._clock() * 1000)
        is_held = bool(await self._redis.exists(keys.lease(wakeups.deliver(partition).job_id)))
        due: list[int] = []
        for lane in self._lanes(partition):
            await lane.ensure()
            next_due = await lane.next_due()
            if await lane.has_new() or (not is_held and await lane.in_hand()):
                await mark_ready(self._redis, partition, [lane.name], now_ms)
                due.append(wakeups.NOW)
            elif next_due is not None:
                due.append(next_due)
        if due:
            await wakeups.wake(self._redis, wakeups.deliver(partition), min(due))

    def _lanes(self, partition: int | None = None) -> Iterator[Lane]:
        for subscription in self._rules.current.config.subscriptions:
            if partition is None or wakeups.partition_of(subscription.name) == partition:
                yield Lane(self._redis, subscription.name, subscription.topic)
