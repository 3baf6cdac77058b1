"""The upkeep: every few minutes a look at what Linq has of us, said, counted, and repaired if relay.toml says so.

Subscriptions change behind our back: somebody deletes one, Linq switches one off, a line comes or goes. Whether or not
`heal` is on, a rotation that a person began is brought to its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.open import NEEDS, open_reconciler
from relay.bootstrap.status import differences
from relay.core.errors import RelayError
from relay.store import names
from relay.store.connect import RedisTrouble, ask, describe
from relay.store.heard import last_heard

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from relay.config_file import ConfigFile
    from relay.settings import Settings

log = structlog.get_logger()


class Upkeep:
    """Looks after our subscriptions at Linq."""

    def __init__(self, redis: Redis, rules: ConfigFile, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._redis = redis
        self._rules = rules
        self._settings = settings
        self._clock = clock

    @property
    def is_possible(self) -> bool:
        """Whether the settings have what it takes."""
        return all(getattr(self._settings, need) is not None for need in NEEDS)

    async def look(self) -> None:
        """Compares, says and counts, and repairs what it may. What goes wrong is said; the next look is soon."""
        try:
            await self._look()
        except (RelayError, *RedisTrouble) as error:
            log.error("bootstrap.check_failed", error=describe(error))  # noqa: TRY400  a sentence, not a bug

    async def _look(self) -> None:
        config = self._rules.current.config
        async with open_reconciler(self._settings, self._redis, config) as reconciler:
            survey, heard, now = await reconciler.look(), await last_heard(self._redis), self._clock()
            found = differences(survey, heard, now, config.linq.silent_after)
            await ask(self._redis.hset(names.DRIFT, mapping={**found, "at": round(now)}))
            repairable = sum(found.values()) - found["silent"] - found["foreign"]
            write = log.warning if repairable or found["silent"] else log.info
            write("bootstrap.checked", **found, heal=config.linq.heal)
            steps = survey.plan(now)
            if repairable and config.linq.heal:
                await reconciler.apply(lambda _: None)
            elif any(step.ends_rotation for step in steps):
                await reconciler.apply(lambda _: None, only=lambda step: step.ends_rotation)
