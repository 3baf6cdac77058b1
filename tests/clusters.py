"""A Redis Cluster: real servers on free ports, in a directory of their own."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.process.embedded_redis import server_program
from relay.process.subprocesses import death_with_parent
from relay.store.driver.client import Redis
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

_SLOTS = 16384
_NODE_TIMEOUT_MS = 1500
_TIMEOUT = 5.0  # seconds for an answer
SLOT = key_slot(b"relay")
"""The slot of the relay's keys."""
_SERVER = """port {port}
cluster-port {bus}
bind 127.0.0.1
dir "{directory}"
cluster-enabled yes
cluster-node-timeout {timeout}
cluster-replica-validity-factor 0
appendonly yes
appendfsync {fsync}
maxmemory-policy noeviction
enable-debug-command local
auto-aof-rewrite-min-size 256mb
save ""
repl-diskless-sync yes
repl-diskless-sync-delay 0
logfile "server.log"
"""


@dataclass(slots=True)
class Cluster:
    """The servers and their processes."""

    directory: Path
    program: str
    fsync: str = "everysec"
    buses: dict[int, int] = field(default_factory=dict)
    """Ports of the cluster bus, by the port of the server."""
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Processes by port; first the primaries of the beginning."""

    @property
    def ports(self) -> list[int]:
        """The ports of all servers."""
        return list(self.buses)

    @property
    def url(self) -> str:
        """Value for REDIS_URL."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    def add(self) -> int:
        """Start a server that belongs to no cluster yet; return its port."""
        port, bus = reserve_port(), reserve_port()
        folder = self.directory / str(port)
        folder.mkdir(parents=True)
        text = _SERVER.format(port=port, bus=bus, directory=folder, timeout=_NODE_TIMEOUT_MS, fsync=self.fsync)
        (folder / "server.conf").write_text(text)
        self.buses[port] = bus
        self.start(port)
        return port

    def start(self, port: int) -> None:
        """Start a server with its data."""
        self.processes[port] = subprocess.Popen(  # noqa: S603  a server that we looked for ourselves
            [self.program, str(self.directory / str(port) / "server.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=death_with_parent(),  # noqa: PLW1509  one system call, no locks
        )

    def signal(self, port: int, number: signal.Signals) -> None:
        """Send the server a signal."""
        self.processes[port].send_signal(number)

    def kill(self, port: int) -> None:
        """Kill the server with SIGKILL."""
        self.processes[port].kill()
        self.processes[port].wait()

    async def command(self, port: int, *words: str | int, timeout: float = _TIMEOUT) -> Any:
        """Return the answer of one server."""
        async with Redis(port=port, socket_timeout=timeout, socket_connect_timeout=1) as redis:
            return await redis.execute_command(*words)  # type: ignore[no-untyped-call]

    async def nodes(self, port: int) -> dict[int, list[str]]:
        """Return the rows of CLUSTER NODES at a server, by port."""
        rows = [row.split() for row in (await self.command(port, "CLUSTER", "NODES")).decode().splitlines()]
        return {int(row[1].partition("@")[0].rpartition(":")[2]): row for row in rows}

    async def id_of(self, port: int) -> str:
        """Return the id of a node."""
        return str((await self.command(port, "CLUSTER", "MYID")).decode())

    async def owner(self, slot: int = SLOT, asked: int | None = None) -> int:
        """Return the port of the primary that serves a slot, as the first server that answers knows it."""
        rows = await self._slots([asked] if asked else list(self.processes))
        return next((int(primary[1]) for start, end, primary, *_ in rows if start <= slot <= end), 0)

    async def _slots(self, ports: Sequence[int]) -> Any:
        """Return the slots as the first of some servers that answers knows them: others may be starting or stopped."""
        *others, last = [port for port in ports if self.processes[port].poll() is None] or ports
        for port in others:
            with suppress(RedisConnectionError, RedisTimeoutError):  # BusyLoadingError too
                return await self.command(port, "CLUSTER", "SLOTS", timeout=1.0)
        return await self.command(last, "CLUSTER", "SLOTS")

    async def replica_of(self, port: int) -> int:
        """Return the port of the replica of a primary."""
        name = await self.id_of(port)
        return next(other for other, row in (await self.nodes(port)).items() if row[3] == name)

    async def other_primary(self, port: int) -> int:
        """Return the port of another primary."""
        rows = await self.nodes(port)
        return next(
            other for other, row in rows.items() if other != port and "master" in row[2] and "fail" not in row[2]
        )

    async def begin_to_move(self, source: int, target: int, slot: int = SLOT) -> None:
        """Begin to move a slot key by key, as `redis-cli --cluster reshard` does."""
        await self.command(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", await self.id_of(source))
        await self.command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", await self.id_of(target))

    async def move_keys(
        self, source: int, target: int, slot: int = SLOT, count: int = 10, timeout: float = _TIMEOUT
    ) -> int:
        """Move so many keys of a slot at most; return their number."""
        if keys := await self.command(source, "CLUSTER", "GETKEYSINSLOT", slot, count):
            words = ("MIGRATE", "127.0.0.1", target, "", 0, round(timeout * 1000), "KEYS", *keys)
            await self.command(source, *words, timeout=timeout)
        return len(keys)

    async def finish_move(
        self, source: int, target: int, slot: int = SLOT, count: int = 10, timeout: float = _TIMEOUT
    ) -> None:
        """Move the keys, so many at a time, and hand the slot over."""
        while await self.move_keys(source, target, slot, count, timeout):
            pass
        for port in (target, source):
            await self.command(port, "CLUSTER", "SETSLOT", slot, "NODE", await self.id_of(target))

    async def place(self, slots: Mapping[int, int]) -> None:
        """Hand slots, most of them empty, to the primaries with these ports; wait until all servers know."""
        for slot, port in slots.items():
            if (owner := await self.owner(slot)) != port:
                await self.begin_to_move(owner, port, slot)
                await self.finish_move(owner, port, slot)

        await eventually(self.agrees)

    async def agrees(self, away: int = 0) -> bool:
        """Return True if all servers but the one that is away know the same primary of each slot."""
        views = []
        for port in self._others(away):
            try:
                rows: Any = await self.command(port, "CLUSTER", "SLOTS")
            except (RedisError, OSError):
                return False
            views.append(sorted((start, end, primary[1]) for start, end, primary, *_ in rows))
        return all(view == views[0] for view in views)

    async def has_caught_up(self, away: int = 0) -> bool:
        """Return True if every replica but the one that is away has what its primary had when it was asked."""
        rows = await self.nodes(self._others(away)[0])
        ports = {row[0]: port for port, row in rows.items()}
        for port, row in rows.items():
            if "slave" in row[2] and port != away:
                try:
                    before = (await self.command(ports[row[3]], "INFO", "replication"))["master_repl_offset"]
                    after = (await self.command(port, "INFO", "replication")).get("slave_repl_offset", -1)
                except (RedisError, OSError):
                    return False
                if after < before:
                    return False
        return True

    async def is_whole(self, away: int = 0) -> bool:
        """Return True if all servers that run see the same cluster, without failures and with replicas in sync.

        The server at the port `away` may be down, or about to return.
        """
        views = []
        running = [port for port in self._others(away) if self.processes[port].poll() is None]
        for port in running:
            try:
                rows = {other: row for other, row in (await self.nodes(port)).items() if other != away}
                state = (await self.command(port, "CLUSTER", "INFO")).decode()
                replication = await self.command(port, "INFO", "replication")
            except (RedisError, OSError):
                return False
            flags = [row[2] for row in rows.values()]
            if len(rows) != len(running) or any("fail" in flag or "handshake" in flag for flag in flags):
                return False
            views.append({other: "slave" in row[2] for other, row in rows.items()})
            if "cluster_state:ok" not in state or replication.get("master_link_status", "up") != "up":
                return False
        return all(view == views[0] for view in views)

    def _others(self, away: int) -> list[int]:
        return [port for port in self.ports if port != away]


@asynccontextmanager
async def clusters(
    directory: Path, primaries: int = 3, replicas: int = 1, program: str | None = None, fsync: str = "everysec"
) -> AsyncIterator[Cluster]:
    """Start `primaries` with `replicas` each; wait until all are in sync.

    `program` is the path of the server's program; None for the embedded one's.
    """
    cluster = Cluster(directory, program or server_program(), fsync)
    try:
        ports = [cluster.add() for _ in range(primaries * (1 + replicas))]
        for port in ports:
            await eventually(lambda port=port: _answers(cluster, port))  # type: ignore[misc]
        first = ports[0]
        for number, port in enumerate(ports):
            await cluster.command(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < primaries:
                start, end = number * _SLOTS // primaries, (number + 1) * _SLOTS // primaries - 1
                await cluster.command(port, "CLUSTER", "ADDSLOTSRANGE", start, end)
        for port in ports[1:]:
            await cluster.command(port, "CLUSTER", "MEET", "127.0.0.1", first, cluster.buses[first])
        await eventually(cluster.is_whole)
        for number, port in enumerate(ports[primaries:]):
            await cluster.command(port, "CLUSTER", "REPLICATE", await cluster.id_of(ports[number % primaries]))
        await eventually(cluster.is_whole)
        yield cluster
    finally:
        for port in cluster.processes:
            cluster.kill(port)
        shutil.rmtree(directory, ignore_errors=True)


async def _answers(cluster: Cluster, port: int) -> bool:
    try:
        return bool(await cluster.command(port, "PING"))
    except (RedisError, OSError):
        return False
