"""The sweeper: finds work without a wake-up.

Streams hold the truth and wake-ups carry no data, so a wake-up that was lost (arq's keys were flushed, a worker died
between two steps) must not strand work. Every five seconds one worker checks the inbox, the replays and the lanes
(`lane_sweep`), and wakes the jobs that have work. Waking a job that is queued or running changes nothing. An error of
one lane is logged, and the others are checked (`relay.store.isolation`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.store import wakeups
from relay.store.inbox.audit import InboxAudit
from relay.store.isolation import Isolation
from relay.store.ledger.kept import KeptStates
from relay.store.sharding.growth.state import is_unfinished
from relay.store.state.history import record_minute
from relay.store.state.sweeps import record_sweep
from relay.store.topics.held import release_held_events, topics_with_held_events
from relay.store.topics.registry import register_topics
from relay.store.topics.replays import Replays
from workers.maintenance.lane_sweep import LaneSweep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.config.file import RulesInForce
    from relay.store.driver.client import Redis

log = structlog.get_logger()


class Sweeper:
    """The search for work that has no wake-up."""

    def __init__(
        self,
        redis: Redis,
        rules: RulesInForce,
        clock: Callable[[], float],
        next_look: Callable[[], Awaitable[int | None]] | None = None,
        kept: KeptStates | None = None,
        *,
        is_home: bool = True,
    ) -> None:
        """`clock` gives Unix seconds; `next_look` when account events of Linq's ask for a look (ms), None for none.

        `kept` are the states of the lanes, if they are shared with others. The history of the relay is recorded, and
        a growth is looked after, by the sweep of the first shard, `is_home`.
        """
        self._is_home = is_home
        self._kept = kept or KeptStates(redis)
        self._next_look = next_look
        self._redis = redis
        self._key = redis.key
        self._rules = rules
        self._clock = clock
        self._isolation = Isolation(redis)
        self._inbox_audit = InboxAudit(redis)
        self._lanes = LaneSweep(redis, rules, clock, self._isolation)

    async def sweep(self) -> None:
        """Repair what was deleted by hand, wake every job that has work, and save each lane's checkpoint."""
        key, contain = self._key, self._isolation.contain
        await contain("topics", key.topics, register_topics(self._redis, self._topics()), {key.topics: "set"})
        await contain("inbox", key.inbox, self._check_inbox_and_audit(), {key.inbox: "stream"})
        await contain("replays", key.replays_running, self.check_replays())
        await contain("account_events", key.linq_events, self.check_account_events(), {key.linq_events: "stream"})
        await self._lanes.run()
        for topic in await topics_with_held_events(self._redis, self._topics()):
            await contain("topic", topic, self._release(topic), {key.topic(topic): "stream"})
        if self._is_home:
            history = {key.history: "stream", key.history_lanes: "stream"}
            await contain("history", key.history, self._record_minute(), history)
            await contain("growth", key.growth, self.check_growth(), {key.growth: "hash"})
        recording = record_sweep(self._redis, round(self._clock() * 1000))
        await self._isolation.contain("maintenance", self._key.maintenance, recording, {self._key.maintenance: "hash"})

    async def _release(self, topic: str) -> None:
        """Move the events that a topic holds into it, and wake its lanes."""
        released = await release_held_events(self._redis, topic)
        log.info("topic.recovered", topic=topic, released=released)
        await self._lanes.check_topic(topic)

    async def _record_minute(self) -> None:
        await record_minute(self._redis, round(self._clock() * 1000), self._kept)

    async def _check_inbox_and_audit(self) -> None:
        await self._inbox_audit.run()
        await self.check_inbox()

    async def check_inbox(self) -> None:
        """Wake the router if the inbox has entries."""
        if await self._redis.xlen(self._key.inbox):
            await wakeups.wake(self._redis, wakeups.route(self._key))

    async def check_replays(self) -> None:
        """Wake the replay job if a replay is running."""
        if await Replays(self._redis).are_running():
            await wakeups.wake(self._redis, wakeups.replay(self._key))

    async def check_account_events(self) -> None:
        """Wake the reaction to account events of Linq's when its next look is due, if any waits."""
        if self._next_look is not None and (due := await self._next_look()) is not None:
            await wakeups.wake(self._redis, wakeups.react(self._key), due)

    async def check_growth(self) -> None:
        """Wake the job that ends a growth to more shards if one is decided and not done."""
        if self._redis.others and await is_unfinished(self._redis):
            await wakeups.wake(self._redis, wakeups.grow(self._key))

    async def check_partition(self, partition: int) -> None:
        """Wake the worker of `partition` if its lanes have work, now or when the next retry is due."""
        await self._lanes.check_partition(partition)

    def _topics(self) -> list[str]:
        return [topic.name for topic in self._rules.current.config.topics]
