"""The alerts of the relay itself: twice a minute one worker looks for problems, and sends webhooks about them.

It is a job of its own and not part of the sweep: a URL that does not respond delays no wake-up, and a sweep that has
stopped is noticed. `alert_run` does it, and is imported where relay.toml has `[alerts]`: it has an HTTP client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.lazy_modules import LazyModule
from relay.process.imports import OnFirstUse
from relay.store.ledger.kept import KeptStates

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease
    from workers.maintenance import alert_run
else:
    alert_run = LazyModule("workers.maintenance.alert_run")


class Alerting:
    """The search for problems, and the sending of webhooks about them."""

    def __init__(
        self, redis: Redis, rules: RulesInForce, clock: Callable[[], float], lanes: KeptStates | None = None
    ) -> None:
        """`clock` gives Unix seconds; `lanes` are the states of the lanes, if they are shared with others."""
        self._rules = rules
        kept = lanes or KeptStates(redis)
        self._run = OnFirstUse(alert_run, lambda: alert_run.AlertRun(redis, rules, clock, kept))

    @property
    def is_on(self) -> bool:
        """True if relay.toml has `[alerts]`."""
        return self._rules.current.config.alerts is not None

    async def run(self, lease: Lease) -> None:
        """Look for problems, and send what waits to be sent; `lease` is that on the alerts.

        Raises:
            LeaseLost: another worker does it.
        """
        if self.is_on:
            await (await self._run.get()).run(lease)
