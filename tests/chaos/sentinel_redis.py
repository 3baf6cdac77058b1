"""A primary with a replica, and three Sentinels that look after them, in the place of the one Redis.

What is done to "Redis" is done to whoever is the primary then: killed, stopped or slow for long enough, it is replaced,
and comes back as the replica. A fault ends only when both are in step again, since two failures at once are more than
one replica can bear. Linq's answers wait for the replica (`RELAY_REPLICAS=1`).
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from relay.store.driver.client import open_redis
from tests.sentinels import SERVICE, sentinels
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.sentinels import Topology

_HEALING = 120.0  # seconds; a primary that was only still is told after some ten seconds that it is none any more


@dataclass(slots=True)
class SentinelRedis:
    """The servers, through their primary."""

    directory: Path
    fsync: str = "always"
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the fault that is at work on it."""
    _topology: Topology | None = None
    _primary: int = 0
    _is_down: bool = False
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def environment(self) -> dict[str, str]:
        """What the relay has to be told."""
        return {"REDIS_URL": self.url, "RELAY_REPLICAS": "1"}

    @property
    def url(self) -> str:
        """As REDIS_URL."""
        return self._servers.url

    @property
    def _servers(self) -> Topology:
        assert self._topology is not None, "it was not started"
        return self._topology

    async def start(self) -> None:
        """Starts everything; later, the server that was killed, as a replica of the one that took over."""
        if self._topology is None:
            self._topology = await self._stack.enter_async_context(sentinels(self.directory, count=3, fsync=self.fsync))
        elif self._is_down:
            killed, self._is_down = self._primary, False
            await eventually(lambda: self._servers.has_moved_from(killed), _HEALING)
            await self._servers.follow(killed)
        await self.healed()

    async def healed(self) -> None:
        """Waits until there is a primary that takes writes, with its replica in step."""
        await eventually(self._servers.is_whole, _HEALING)
        self._primary = await self._servers.primary()

    async def fail_over(self) -> None:
        """Asks the Sentinels for a failover, as before maintenance."""
        async with Redis(port=self._servers.sentinels[0]) as sentinel:
            asked: Any = sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)  # type: ignore[no-untyped-call]
            await asked
        await eventually(lambda: self._servers.has_moved_from(self._primary), _HEALING)
        await self.healed()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """A client of the primary, for an errand."""
        async with open_redis(self.url, 30) as redis:
            yield redis

    def signal(self, number: signal.Signals) -> None:
        """Sends it to the server that was the primary when all was well last."""
        self._servers.processes[self._primary].send_signal(number)

    async def kill(self) -> None:
        """Ends the primary the hard way."""
        self._is_down = True
        self._servers.kill(self._primary)

    async def stop(self) -> None:
        """Ends the primary in order."""
        self._is_down = True
        self.signal(signal.SIGTERM)
        await asyncio.to_thread(self._servers.processes[self._primary].wait)

    async def abandon(self) -> None:
        """Ends everything."""
        await self._stack.aclose()
