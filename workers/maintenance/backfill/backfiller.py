"""The backfill after an outage, if `backfill` is on in `[linq]`: half an hour after its end, messages are put back.

By then Linq has delivered all that it still retried, so that these events stay live. `backfilling` does it, and is
imported when there is an outage: Linq's SDK takes a worker 20 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.lazy_modules import LazyModule
from relay.process.imports import import_later
from relay.store.gaps.outages import SETTLED_AFTER, pending_outage

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from workers.maintenance.backfill import backfilling
else:
    backfilling = LazyModule("workers.maintenance.backfill.backfilling")

LEASE = "backfill"


class Backfiller:
    """The backfill of the worker processes."""

    def __init__(self, redis: Redis, rules: RulesInForce, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._settings = settings
        self._clock = clock

    @property
    def is_possible(self) -> bool:
        """True if the settings have all that it needs."""
        return self._settings.linq_api_v3_api_key is not None or bool(self._rules.current.config.linq.accounts)

    async def check(self) -> None:
        """Put back what the last outage lost, once Linq has given up on it; the next check retries what failed."""
        config = self._rules.current.config
        if not config.linq.backfill:
            return
        outage = await pending_outage(self._redis)
        if outage is None or self._clock() * 1000 < outage.to_ms + SETTLED_AFTER * 1000:
            return
        await import_later(backfilling.__name__)
        await backfilling.Filling(self._redis, self._settings, config, self._clock).fill(outage)
