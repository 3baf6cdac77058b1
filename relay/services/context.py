"""The surroundings of a service: Redis, the rules in force, the settings and the clock."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.parts import open_events, open_store
from relay.rules.current import Rules
from relay.store import audit
from relay.store.driver.replication import Replication

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.config.settings import Settings
    from relay.core.access.principal import Principal
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of a service."""

    settings: Settings
    redis: Redis
    rules: Rules
    clock: Callable[[], float] = time.time
    """Unix seconds."""

    @property
    def now_ms(self) -> int:
        """The time, Unix milliseconds."""
        return round(self.clock() * 1000)

    @property
    def dedupe_window_ms(self) -> int:
        """The time for which the ids of events are kept, milliseconds."""
        return round(self.settings.relay_dedupe_window * 1000)

    @property
    def replication(self) -> Replication | None:
        """The confirmation by replicas that a write about accepted events needs."""
        return Replication.to_replicas(self.settings.relay_replicas)

    async def config(self) -> RelayConfig:
        """Return the rules in force.

        Raises:
            ConfigError: there never were valid ones.
        """
        return await self.rules.current()

    async def record(
        self, principal: Principal, command: str, target: str, count: int | None = None, why: str = ""
    ) -> None:
        """Record a change in the audit; to be called before it is made.

        Raises:
            StoreError: it cannot be recorded, so it must not be made.
        """
        await audit.record(
            self.redis, principal.name, command, target, count, why, source=principal.source, team=principal.team
        )


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[Context]:
    """Open the surroundings of a command's services; `settings` must have a URL of Redis.

    Raises:
        SettingsError: RELAY_SHARDS is not the relay's number of shards.
    """
    async with open_events(settings) as redis:
        yield _context(settings, redis)


@asynccontextmanager
async def open_lasting_context(settings: Settings) -> AsyncIterator[Context]:
    """Open the context of a process, which starts while Redis is away, and checks the number of shards by itself."""
    async with open_store(settings) as redis:
        yield _context(settings, redis)


def _context(settings: Settings, redis: Redis) -> Context:
    return Context(settings, redis, Rules(settings, redis))
