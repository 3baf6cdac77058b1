"""The job that trims: once a minute, of every shard.

`retention` does it, and is imported when a worker trims first, which it does not do at once: 13 modules that nothing
else in a worker needs, and 3 % of the CPU time in which one starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.process.imports import import_later

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config.file import RulesInForce
    from relay.store.driver.client import Redis
    from workers.maintenance.retention import Retention


class Trimming:
    """The trimming of topics, attempt logs and the quarantine."""

    def __init__(
        self,
        redis: Redis,
        rules: RulesInForce,
        clock: Callable[[], float],
        gap_window: float,
        home: Redis | None = None,
    ) -> None:
        """Arguments are those of `Retention`."""
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._gap_window = gap_window
        self._home = home
        self._retention: Retention | None = None

    async def trim(self) -> None:
        """Trim everything."""
        await import_later("workers.maintenance.retention")
        from workers.maintenance.retention import Retention  # noqa: PLC0415  see above

        if self._retention is None:
            self._retention = Retention(self._redis, self._rules, self._clock, self._gap_window, self._home)
        await self._retention.trim()
