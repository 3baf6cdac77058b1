"""The backfill after an outage, if `backfill` is on in `[linq]`: half an hour after its end, messages are put back.

By then Linq has delivered all that it still retried, so that these events stay live. The span begins half an hour
before the outage: events of that time were being retried when it began. A run that ends early is resumed by the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.core.errors import RelayError
from relay.gaps.run import NEEDS, SETTLED_AFTER, Asked, NothingToCompare, open_gap_finder
from relay.store import audit
from relay.store.driver.client import describe
from relay.store.gaps.outages import forget_outage, pending_outage
from relay.store.gaps.walk_record import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.gaps.run import GapFinder
    from relay.store.driver.client import Redis
    from relay.store.gaps.outages import Outage

LEASE = "backfill"

log = structlog.get_logger()


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
        return all(getattr(self._settings, need) is not None for need in NEEDS)

    async def check(self) -> None:
        """Put back what the last outage lost, once Linq has given up on it; the next check retries what failed."""
        config = self._rules.current.config
        if not config.linq.backfill:
            return
        outage = await pending_outage(self._redis)
        if outage is None or self._clock() * 1000 < outage.to_ms + SETTLED_AFTER * 1000:
            return
        try:
            async with open_gap_finder(self._settings, self._redis, config, self._clock) as finder:
                await self._put_back(finder, outage)
        except NothingToCompare as error:
            log.warning("backfill.impossible", **outage._asdict(), error=str(error))
            await forget_outage(self._redis)
        except RelayError as error:
            log.error("backfill.failed", **outage._asdict(), error=describe(error))  # noqa: TRY400  expected

    async def _put_back(self, finder: GapFinder, outage: Outage) -> None:
        asked = Asked(Mode.FILL, outage.from_ms - round(SETTLED_AFTER * 1000), outage.to_ms + 1000)
        found = await finder.unfinished(asked)
        if found is None:
            await audit.record(self._redis, "worker", "backfill", "all lines", why="[linq] backfill, after an outage")
        walk = await finder.run(found or await finder.new(asked), resume=found is not None)
        log.warning(
            "backfill.done",
            **outage._asdict(),
            messages=walk.messages,
            missing=walk.missing,
            put_back=walk.put,
            untaken=walk.untaken,
            calls=walk.calls,
        )
        await forget_outage(self._redis)
