"""The drift check: every five minutes it compares our subscriptions at Linq with relay.toml.

What it does is in `drift_look`, imported by the first check that has something to look at: with Linq's SDK it takes a
worker 20 MB and a third of a second of CPU, and many workers have no key for Linq.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.bootstrap.needs import V2_NEEDS, needs_of
from relay.core.lazy_modules import LazyModule
from relay.process.imports import OnFirstUse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from relay.config.file import RulesInForce
    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from workers.maintenance.linq import drift_look
else:
    drift_look = LazyModule("workers.maintenance.linq.drift_look")


class DriftCheck:
    """The check of our subscriptions at Linq."""

    def __init__(self, redis: Redis, rules: RulesInForce, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._rules = rules
        self._settings = settings
        self._look = OnFirstUse(drift_look, lambda: drift_look.DriftLook(redis, rules, settings, clock))

    @property
    def is_possible(self) -> bool:
        """True if the settings have all that the check of either API needs."""
        v3 = needs_of(self._rules.current.config)
        return any(all(getattr(self._settings, need) is not None for need in needs) for needs in (v3, V2_NEEDS))

    async def check(self) -> None:
        """Compare, log, count, and repair if allowed. Errors are logged; the next check retries."""
        linq = self._rules.current.config.linq
        if self._settings.linq_api_v3_api_key is not None or linq.accounts or linq.v2 is not None:
            await (await self._look.get()).check()

    async def check_told(self, released: Collection[str]) -> drift_look.Told:
        """Check the v3 API after events of Linq's, by which it has `released` lines; as `check`, errors are logged."""
        return await (await self._look.get()).check_told(released)
