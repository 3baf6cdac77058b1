"""A primary, replicas and Sentinels: real servers on free ports, in a directory of their own."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from relay.process.embedded_redis import server_program
from relay.process.subprocesses import death_with_parent
from relay.store.driver.client import Redis
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SERVICE = "relay"
_DOWN_AFTER_MS = 1500
_SERVER = """port {port}
bind 127.0.0.1
dir "{directory}"
appendonly yes
appendfsync {fsync}
maxmemory-policy noeviction
enable-debug-command local
save ""
repl-diskless-sync yes
repl-diskless-sync-delay 0
replica-priority 100
logfile "server.log"
"""
_SENTINEL = """port {port}
bind 127.0.0.1
dir "{directory}"
logfile "sentinel.log"
sentinel monitor {service} 127.0.0.1 {primary} {quorum}
sentinel down-after-milliseconds {service} {down_after}
sentinel failover-timeout {service} 3000
"""


@dataclass(slots=True)
class Topology:
    """The servers and their processes."""

    directory: Path
    program: str
    ports: list[int] = field(default_factory=list)
    """Ports of the data servers; the first is the first primary."""
    sentinels: list[int] = field(default_factory=list)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Processes by port."""

    @property
    def url(self) -> str:
        """Value for REDIS_URL."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def start(self, port: int) -> None:
        """Start a data server or a Sentinel with its present configuration."""
        file = self.directory / str(port) / "server.conf"
        mode = ["--sentinel"] if port in self.sentinels else []
        self.processes[port] = subprocess.Popen(  # noqa: S603  a server that we looked for ourselves
            [self.program, str(file), *mode],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=death_with_parent(),  # noqa: PLW1509  one system call, no locks
        )

    async def follow(self, port: int) -> None:
        """Start a former primary as a replica, as a Sentinel would make it after some ten seconds."""
        file = self.directory / str(port) / "server.conf"
        file.write_text(f"{file.read_text()}\nreplicaof 127.0.0.1 {await self.primary()}\n")
        self.start(port)

    def kill(self, port: int) -> None:
        """Kill the server with SIGKILL."""
        self.processes[port].kill()
        self.processes[port].wait()

    async def primary(self) -> int:
        """Return the port of the primary according to the first Sentinel."""
        async with Redis(port=self.sentinels[0]) as sentinel:
            reply: Any = sentinel.sentinel_get_master_addr_by_name(SERVICE)  # type: ignore[no-untyped-call]
            _, port = await reply
            return int(port)

    async def has_moved_from(self, port: int) -> bool:
        """Return True if another server is the primary now and takes writes."""
        primary = await self.primary()
        return primary != port and await _role(primary) == "master"

    async def is_whole(self) -> bool:
        """Return True if every replica has caught up with the primary, and every Sentinel sees them all and rests."""
        for port in self.sentinels:
            async with Redis(port=port) as sentinel:
                reply: Any = sentinel.sentinel_master(SERVICE)  # type: ignore[no-untyped-call]
                state = await reply
            others = (state["num-slaves"], state["num-other-sentinels"])
            if others != (len(self.ports) - 1, len(self.sentinels) - 1) or state["is_sdown"]:
                return False
            if "failover_in_progress" in state["flags"]:
                return False
        async with Redis(port=await self.primary(), single_connection_client=True) as redis:
            await redis.set("step", 1)  # WAIT waits for the writes of its own connection
            return bool(await redis.wait(len(self.ports) - 1, 200) == len(self.ports) - 1)

    def write(self, port: int, text: str) -> None:
        """Write the configuration of the server at `port`."""
        directory = self.directory / str(port)
        directory.mkdir(parents=True)
        (directory / "server.conf").write_text(text.replace("{directory}", str(directory)))


@asynccontextmanager
async def sentinels(
    directory: Path, replicas: int = 1, count: int = 1, fsync: str = "everysec", program: str | None = None
) -> AsyncIterator[Topology]:
    """Start a primary, `replicas` and `count` Sentinels, of which a majority decides; wait until all are in sync.

    `program` is the path of the server's program; None for the embedded one's.
    """
    topology = Topology(directory, program or server_program())
    try:
        for number in range(1 + replicas):
            port = reserve_port()
            follows = f"replicaof 127.0.0.1 {topology.ports[0]}\n" if number else ""
            topology.write(port, _SERVER.replace("{port}", str(port)).replace("{fsync}", fsync) + follows)
            topology.ports.append(port)
            topology.start(port)
            await eventually(lambda port=port: _role(port))  # type: ignore[misc]
        for _ in range(count):
            port = reserve_port()
            topology.sentinels.append(port)
            text = _SENTINEL.replace("{directory}", "\0").format(
                port=port, service=SERVICE, primary=topology.ports[0], quorum=count // 2 + 1, down_after=_DOWN_AFTER_MS
            )
            topology.write(port, text.replace("\0", "{directory}"))
            topology.start(port)
            await eventually(lambda port=port: _role(port))  # type: ignore[misc]
        await eventually(topology.is_whole)
        yield topology
    finally:
        for port in topology.processes:
            topology.kill(port)
        shutil.rmtree(directory, ignore_errors=True)


async def _role(port: int) -> str | None:
    """Return the role that the server at `port` reports; None if it does not respond."""
    async with Redis(port=port, socket_timeout=1, socket_connect_timeout=1, decode_responses=True) as redis:
        try:
            info: dict[str, Any] = await redis.info("replication")
        except (RedisError, OSError):
            return None
        return str(info.get("role", "sentinel"))
