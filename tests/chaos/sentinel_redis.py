"""A primary with a replica and three Sentinels, in place of the single Redis.

A fault affects the current primary: killed, stopped or slow for long enough, it is replaced, and returns as the
replica. A fault ends only when the replica has caught up, since one replica does not survive two failures at once. If
the server stays away for long (`tests.chaos.outage`), the next fault of Redis waits for it. Responses to Linq wait for
the replica (`RELAY_REPLICAS=1`).
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relay.store.driver.client import Redis
from tests.chaos.outage import Outage
from tests.sentinels import SERVICE, sentinels
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sentinels import Topology

_HEALING = 120.0  # seconds; a primary that was only stopped learns after some ten seconds that it no longer is one


@dataclass(slots=True)
class SentinelRedis:
    """The servers, accessed through their primary."""

    directory: Path
    fsync: str = "always"
    program: str | None = None
    """Path of the server's program; None for the embedded one's."""
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Acquired by the fault that affects Redis."""
    target: int = 0
    """The port of the server that was the primary when everything was healthy last."""
    outage: Outage = field(default_factory=Outage)
    _topology: Topology | None = None
    _is_down: bool = False
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the relay."""
        return {"REDIS_URL": self.url, "RELAY_REPLICAS": "1"}

    @property
    def url(self) -> str:
        """Value for REDIS_URL."""
        return self._servers.url

    @property
    def _servers(self) -> Topology:
        assert self._topology is not None, "not started"
        return self._topology

    async def start(self) -> None:
        """Start everything; later, start the killed server as a replica of the new primary."""
        if self._topology is None:
            self._topology = await self._stack.enter_async_context(
                sentinels(self.directory, count=3, fsync=self.fsync, program=self.program)
            )
        elif self._is_down:
            killed, self._is_down = self.target, False
            await eventually(lambda: self._servers.has_moved_from(killed), _HEALING)
            await self._servers.follow(killed)
        await self.wait_until_healthy()

    async def ready(self) -> None:
        """Wait until a fault may affect the primary: its replica is there."""
        await self.outage.over()

    async def wait_until_healthy(self) -> None:
        """Wait until a primary takes writes and its replica has caught up."""
        await eventually(self._servers.is_whole, _HEALING)
        self.target = await self._servers.primary()

    async def primaries(self) -> list[int]:
        """Return the port of the present primary according to the Sentinels."""
        return [await self._servers.primary()]

    async def fail_over(self) -> None:
        """Ask the Sentinels for a failover, as before maintenance."""
        async with Redis(port=self._servers.sentinels[0]) as sentinel:
            asked: Any = sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)  # type: ignore[no-untyped-call]
            await asked
        await eventually(lambda: self._servers.has_moved_from(self.target), _HEALING)
        await self.wait_until_healthy()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server that was the primary when everything was healthy last."""
        self._servers.processes[self.target].send_signal(number)

    async def kill(self) -> None:
        """Kill the primary."""
        self._is_down = True
        self._servers.kill(self.target)

    async def lose(self, seconds: float) -> None:
        """Kill the primary; it stays away for so many seconds after its replica took its place (`outage`)."""
        lost = self.target
        self._servers.kill(lost)
        await eventually(lambda: self._servers.has_moved_from(lost), _HEALING)
        self.target = await self._servers.primary()
        self.outage.begin(lost, self.target, seconds, self._bring_back)

    async def returned(self) -> None:
        """Wait until a primary that was lost is back, as a replica in sync."""
        await self.outage.over()

    async def _bring_back(self) -> None:
        """Start the server that is away as a replica, and wait until it is in sync."""
        await self._servers.follow(self.outage.away)
        await self.wait_until_healthy()

    async def stop(self) -> None:
        """Stop the primary gracefully."""
        self._is_down = True
        self.signal(signal.SIGTERM)
        await asyncio.to_thread(self._servers.processes[self.target].wait)

    async def kill_all(self) -> None:
        """Kill all servers."""
        await self.outage.close()
        await self._stack.aclose()
