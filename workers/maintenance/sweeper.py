"""The sweeper: finds work without a wake-up.

Streams hold the truth and wake-ups carry no data, so a wake-up that was lost (arq's keys were flushed, a worker died
between two steps) must not strand work. Every five seconds one worker checks the inbox, the replays and every lane, and
wakes the jobs that have work. Waking a job that is queued or running changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.store import keys, wakeups
from relay.store.driver.client import ask
from relay.store.inbox.audit import InboxAudit
from relay.store.lanes.audit import audit_lane
from relay.store.lanes.lane import Lane, mark_ready
from relay.store.topics.registry import register_topics
from relay.store.topics.replays import Replays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

    from relay.config.file import ConfigFile

log = structlog.get_logger()


class Sweeper:
    """The search for work that has no wake-up."""

    def __init__(self, redis: Redis, rules: ConfigFile, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._inbox_audit = InboxAudit(redis)

    async def sweep(self) -> None:
        """Repair what was deleted by hand, wake every job that has work, and save each lane's checkpoint."""
        await register_topics(self._redis, [topic.name for topic in self._rules.current.config.topics])
        await self._inbox_audit.run()
        await self.check_inbox()
        await self.check_replays()
        for partition in range(wakeups.PARTITIONS):
            await self.check_partition(partition)
        for lane in self._lanes():
            await lane.save_checkpoint()
        await self._audit_removed_lanes()

    async def _audit_removed_lanes(self) -> None:
        """Count what was deleted of lanes that are not in relay.toml any more."""
        configured = {lane.name for lane in self._lanes()}
        for name in [name.decode() for name in await ask(self._redis.smembers(keys.LANES))]:
            if name not in configured:
                await audit_lane(self._redis, name, is_configured=False)

    async def check_inbox(self) -> None:
        """Wake the router if the inbox has entries."""
        if await self._redis.xlen(keys.INBOX):
            await wakeups.wake(self._redis, wakeups.ROUTE)

    async def check_replays(self) -> None:
        """Wake the replay job if a replay is running."""
        if await Replays(self._redis).are_running():
            await wakeups.wake(self._redis, wakeups.REPLAY)

    async def check_partition(self, partition: int) -> None:
        """Repair the lanes of `partition`, and wake its worker, now or when the next retry is due."""
        now_ms = round(self._clock() * 1000)
        is_leased = bool(await self._redis.exists(keys.lease(wakeups.deliver(partition).job_id)))
        due: list[int] = []
        for lane in self._lanes(partition):
            await lane.ensure()
            was_repaired = await lane.audit()
            next_due = await lane.next_due()
            if was_repaired or await lane.has_new() or (not is_leased and await lane.in_hand()):
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
