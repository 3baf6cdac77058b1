"""The end of a growth to more shards: workers do what follows its decision, whatever became of `relay shards apply`.

The sweep of the first shard wakes the job while a growth is decided and not done; one worker of all takes a step
(`relay.store.sharding.growth.completion`), and the next sweep wakes it again. What takes it is imported then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.core.errors import StoreUnavailable
from relay.core.lazy_modules import LazyModule
from relay.process.imports import OnFirstUse
from relay.store.driver.replication import Replication
from relay.store.sharding.growth.order_gate import ordered_lanes
from relay.store.sharding.growth.state import is_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from relay.store.sharding.growth import completion
else:
    completion = LazyModule("relay.store.sharding.growth.completion")  # few relays ever grow

log = structlog.get_logger()


class Growing:
    """The steps of a growth that a worker takes."""

    def __init__(self, redis: Redis, rules: RulesInForce, settings: Settings, clock: Callable[[], float]) -> None:
        """`redis` is the client of the first shard; `clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._replication = Replication.to_replicas(settings.relay_replicas)
        self._window_ms = round(settings.relay_dedupe_window * 1000)
        self._completion = OnFirstUse(completion, self._complete)
        self._told = ""

    async def step(self) -> None:
        """Do what can be done of a growth that is decided; log what it waits for when that changes, and its end."""
        if not await is_unfinished(self._redis):
            return
        lanes = ordered_lanes(self._rules.current.config.subscriptions)
        steps = await self._completion.get()
        try:
            left = await steps.step(lanes, round(self._clock() * 1000))
        except StoreUnavailable as error:  # this process has to be restarted with another number of shards
            left = str(error)
        if not left:
            log.info("shards.grown", shards=len(self._redis.shards))
        elif left != self._told:
            log.info("shards.growing", waiting=left)
        self._told = left

    def _complete(self) -> completion.Completion:
        return completion.Completion(
            self._redis, self._window_ms, self._replication, lambda text: log.info("shards.copied", what=text)
        )
