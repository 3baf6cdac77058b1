"""A Redis that can be killed, stopped, paused and started again on the same data and port.

The embedded one's program, or another, with an append-only file, in a directory of its own. `appendfsync always`,
since `everysec` does not keep what the guarantees need: while the disk syncs it responds before it writes, for up to
two seconds (`flushAppendOnlyFile` in https://github.com/valkey-io/valkey/blob/unstable/src/aof.c), and a kill takes
that along.
`tests.chaos.sentinel_redis` and `tests.chaos.cluster_redis` have the same interface.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from relay.process.embedded_redis import server_program
from relay.process.subprocesses import death_with_parent
from relay.store.sharding.shards import open_shards
from tests.support import reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis

_TIMEOUT = 30.0  # seconds for an answer
_START_TIMEOUT = 120.0  # seconds; a large append-only file takes a while to load
_STOP_TIMEOUT = 60.0


@dataclass(slots=True)
class RedisServer:
    """A server, one process after the other."""

    directory: Path
    fsync: str = "always"
    program: str | None = None
    """Path of the server's program; None for the embedded one's."""
    port: int = field(default_factory=reserve_port)
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Acquired by the fault that affects Redis."""
    append_only: bool = True
    """False to load `dump.rdb`, which a server with an append-only file ignores."""
    shards: int = 1
    """The number of shards of a client; they share the server."""
    _process: asyncio.subprocess.Process | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the relay."""
        return {"REDIS_URL": self.url}

    @property
    def url(self) -> str:
        """Value for REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it and wait until it responds."""
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "redis.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\nlogfile redis.log\n"
            f"appendonly {'yes' if self.append_only else 'no'}\nappendfsync {self.fsync}\n"
            'save ""\nmaxmemory-policy noeviction\n'
            "enable-debug-command local\n"
        )
        self._process = await asyncio.create_subprocess_exec(
            self.program or server_program(),
            str(config),
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=death_with_parent(),
        )
        async with asyncio.timeout(_START_TIMEOUT):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError(f"Redis ended with {self._process.returncode}; see {self.directory}/redis.log")
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Open a client of the first shard, which knows the others."""
        async with open_shards(self.url, _TIMEOUT, count=self.shards) as shards:
            yield shards.home

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def stop(self) -> None:
        """Stop it gracefully; kill it if that takes too long."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                if self._process is not None:
                    await self._process.wait()
        finally:
            await self.kill()

    async def ready(self) -> None:
        """Do nothing: a fault may affect it at any time."""

    async def wait_until_healthy(self) -> None:
        """Do nothing: a single server is healthy when it runs."""

    @property
    def ports(self) -> list[int]:
        """The ports of all servers: its own."""
        return [self.port]

    @property
    def target(self) -> int:
        """The port of the server that a fault affects: its own."""
        return self.port

    async def primaries(self) -> list[int]:
        """Return its port: there is no other primary."""
        return [self.port]

    async def fail_over(self) -> None:
        """Raise: there is no replica."""
        raise NotImplementedError

    async def lose(self, seconds: float) -> None:
        """Raise: there is no replica."""
        raise NotImplementedError

    async def returned(self) -> None:
        """Do nothing: it is never lost."""

    async def kill_all(self) -> None:
        """Kill it."""
        await self.kill()

    async def _answers(self) -> bool:
        async with self.client() as redis:
            try:
                return bool(await redis.ping())
            except (RedisError, OSError):
                return False
