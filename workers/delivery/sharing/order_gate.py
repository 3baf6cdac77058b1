"""The gates of the ordered lanes of a partition on new shards, while the relay grows (`sharding.growth.order_gate`).

A worker may have the new shards before it knows that events are placed there, so a lane is closed until a look has
found it open. The lanes of the partition on all shards share the looks.
"""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING

from relay.store.sharding.growth.order_gate import open_lanes, ordered_lanes
from relay.store.sharding.growth.state import read_growth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.config.relay_toml import Subscription
    from relay.store.driver.client import Redis

_INTERVAL = 0.5  # seconds


class OrderGate:
    """The gates of the ordered lanes of a partition."""

    def __init__(self, home: Redis) -> None:
        self._home = home
        self._closed_from = 1
        """The number of the first shard whose ordered lanes have gates."""
        self._open: set[str] = set()
        self._is_off = not home.others
        self._looked_at = -inf  # time of the loop's clock
        self._looking = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    def is_open(self, shard: int, subscription: Subscription) -> bool:
        """Return True if the lane of a subscription may deliver on a shard, as of the last look."""
        if self._is_off or subscription.ordered is None or shard < self._closed_from:
            return True
        return subscription.name in self._open

    async def look(self, subscriptions: Iterable[Subscription]) -> None:
        """Look which lanes can be opened, now and then."""
        async with self._looking:
            if not self._is_off and self._loop.time() - self._looked_at >= _INTERVAL:
                await self._look(subscriptions)
                self._looked_at = self._loop.time()

    async def _look(self, subscriptions: Iterable[Subscription]) -> None:
        growth = await read_growth(self._home)
        if growth is None or growth.done_ms is not None:
            self._is_off = True  # until the next growth, for which this process has to be restarted
            return
        self._closed_from = growth.former
        lanes = ordered_lanes(subscriptions)
        closed = await open_lanes(self._home, lanes, round(time.time() * 1000))
        self._open = {lane.name for lane in lanes} - closed.keys()
