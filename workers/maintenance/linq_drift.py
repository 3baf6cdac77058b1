"""The upkeep: every few minutes a look at what Linq has of us, said, counted, and repaired if relay.toml says so.

Subscriptions change behind our back: somebody deletes one, Linq switches one off, a line comes or goes. Whether or not
`heal` is on, a rotation that a person began is brought to its end. Trouble with one of Linq's APIs leaves the other in
peace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from relay.bootstrap.factory import NEEDS, open_reconciler
from relay.bootstrap.status import differences
from relay.bootstrap.v2_reconcile import open_v2_reconciler
from relay.core.errors import RelayError
from relay.store import keys
from relay.store.driver.client import RedisTrouble, ask, describe
from relay.store.keyring.last_seen import last_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from relay.bootstrap.status import Surveyed
    from relay.config.file import ConfigFile
    from relay.config.settings import Settings
    from relay.core.config.relay_toml import RelayConfig

log = structlog.get_logger()


class DriftCheck:
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

    async def check(self) -> None:
        """Compares, says and counts, and repairs what it may. What goes wrong is said; the next look is soon."""
        config = self._rules.current.config
        await self._tried("v3", self._check_v3(config))
        if config.linq.v2 is not None:
            await self._tried("v2", self._check_v2(config))

    async def _tried(self, api: str, look: Awaitable[None]) -> None:
        try:
            await look
        except (RelayError, *RedisTrouble) as error:
            log.error("bootstrap.check_failed", api=api, error=describe(error))  # noqa: TRY400  a sentence, not a bug

    async def _check_v3(self, config: RelayConfig) -> None:
        async with open_reconciler(self._settings, self._redis, config) as reconciler:
            survey, now = await reconciler.survey(), self._clock()
            if await self._count("v3", survey, config, now):
                await reconciler.apply(lambda _: None)
            elif any(step.ends_rotation for step in survey.plan(now)):
                await reconciler.apply(lambda _: None, only=lambda step: step.ends_rotation)

    async def _check_v2(self, config: RelayConfig) -> None:
        async with open_v2_reconciler(self._settings, self._redis, config) as reconciler:
            if await self._count("v2", await reconciler.survey(), config, self._clock()):
                await reconciler.apply(lambda _: None)

    async def _count(self, api: str, survey: Surveyed, config: RelayConfig, now: float) -> bool:
        """Says and counts what is different; whether it is to be repaired."""
        found = differences(survey, await last_events(self._redis), now, config.linq.silent_after)
        row = {f"{api}:{kind}": count for kind, count in found.items()}
        await ask(self._redis.hset(keys.DRIFT, mapping={**row, f"{api}:at": round(now)}))
        repairable = sum(found.values()) - found["silent"] - found["foreign"]
        write = log.warning if repairable or found["silent"] else log.info
        write("bootstrap.checked", api=api, **found, heal=config.linq.heal)
        return bool(repairable) and config.linq.heal
