"""A Redis Cluster of three primaries, each with a replica, in place of the single Redis.

The shards are spread over the primaries. A fault affects the primary of one shard, of another one each time: killed,
stopped or slow for long enough, it is replaced by its replica, and returns as the replica of that. A fault ends only
when every replica has caught up, since one does not survive two failures at once. A server may also stay away for long
(`tests.chaos.outage`): faults of other primaries then go on. Responses to Linq wait for the replica
(`RELAY_REPLICAS=1`).
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from redis.crc import key_slot
from redis.exceptions import RedisError

from relay.store.fixed_keys import DEFAULT_PREFIX, shard_prefix
from tests.chaos.outage import Outage
from tests.clusters import clusters
from tests.support import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clusters import Cluster

_HEALING = 120.0  # seconds
_PRIMARIES = 3
_AT_ONCE = 100  # keys that one MIGRATE moves
_MOVE_TIMEOUT = 60.0  # seconds; a topic's stream is one key, however long it is
_ASK_AGAIN = 10.0  # seconds; a replica gives up after five


@dataclass(slots=True)
class ClusterRedis:
    """The servers of the cluster."""

    directory: Path
    fsync: str = "always"
    program: str | None = None
    """Path of the server's program; None for the embedded one's."""
    shards: int = 1
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Acquired by the fault that affects Redis."""
    slot: int = 0
    """The slot of the shard that the next fault affects."""
    target: int = 0
    """The port of the primary that serves it."""
    outage: Outage = field(default_factory=Outage)
    _cluster: Cluster | None = None
    _turn: int = 0
    _is_killed: bool = False
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the relay."""
        return {"REDIS_URL": self.url, "RELAY_REPLICAS": "1"}

    @property
    def url(self) -> str:
        """Value for REDIS_URL."""
        return self.cluster.url

    @property
    def cluster(self) -> Cluster:
        """The servers and their processes."""
        assert self._cluster is not None, "not started"
        return self._cluster

    @property
    def slots(self) -> list[int]:
        """The slots of the shards, by number."""
        return [key_slot(shard_prefix(DEFAULT_PREFIX, shard).encode()) for shard in range(self.shards)]

    async def start(self) -> None:
        """Start everything; later, start the server that is down: a killed one once its replica is the primary."""
        if self._cluster is None:
            self._cluster = await self._stack.enter_async_context(
                clusters(self.directory, _PRIMARIES, program=self.program, fsync=self.fsync)
            )
            primaries = self._cluster.ports[:_PRIMARIES]
            await self._cluster.place({slot: primaries[n % _PRIMARIES] for n, slot in enumerate(self.slots)})
        else:
            if self._is_killed:
                self._is_killed = False
                await eventually(self._has_moved, _HEALING)
            self.cluster.start(self.target)
        await self.wait_until_healthy()

    async def ready(self) -> None:
        """Wait until a fault may affect the next shard: another copy of its data is at a replica."""
        if self.target == self.outage.successor:
            await self.outage.over()

    async def wait_until_healthy(self) -> None:
        """Wait until all primaries take writes and their replicas have caught up; choose the next shard in turn.

        A primary of which the former one is away has no replica.
        """
        await eventually(self._is_healthy, _HEALING)
        self.slot = self.slots[self._turn % self.shards]
        self._turn += 1
        self.target = await self.cluster.owner(self.slot)

    async def primaries(self) -> list[int]:
        """Return the ports of the shards' primaries, by number of the shard."""
        return [await self.cluster.owner(slot) for slot in self.slots]

    async def fail_over(self) -> None:
        """Ask the replica of a primary to take its place, as before maintenance."""
        await self._hand_over(self.target)
        await self.wait_until_healthy()

    async def move(self, *, pause: float = 0.0, returns: bool = False) -> tuple[int, int]:
        """Move a slot to another primary, key by key; return the ports of both.

        With a pause, the half of the keys that has moved waits so many seconds for the rest; with `returns` the whole
        slot moves back afterwards. (A move that has begun cannot be taken back: the owner redirects what returns.)
        """
        source, slot = self.target, self.slot
        target = await self.cluster.other_primary(source)
        await self._move(source, target, slot, pause)
        if returns:
            await eventually(self._is_healthy, _HEALING)
            await self._move(target, source, slot, 0.0)
        await self.wait_until_healthy()
        return source, target

    async def _move(self, source: int, target: int, slot: int, pause: float) -> None:
        cluster = self.cluster
        await cluster.begin_to_move(source, target, slot)
        try:
            if pause:
                half = int(await cluster.command(source, "CLUSTER", "COUNTKEYSINSLOT", slot)) // 2
                while half > 0 and (moved := await cluster.move_keys(source, target, slot, min(half, _AT_ONCE))):
                    half -= moved
                await asyncio.sleep(pause)
        finally:
            await cluster.finish_move(source, target, slot, _AT_ONCE, _MOVE_TIMEOUT)

    async def restart_all(self) -> None:
        """Restart every server, one after the other, a primary after its replica took its place."""
        await self.outage.over()
        rows = await self.cluster.nodes(self.target)
        for port in sorted(rows, key=lambda port: "master" in rows[port][2]):
            if "master" in (await self.cluster.nodes(port))[port][2]:
                await self._hand_over(port)
                await eventually(self._is_healthy, _HEALING)
            self.cluster.signal(port, signal.SIGTERM)
            await asyncio.to_thread(self.cluster.processes[port].wait)
            self.cluster.start(port)
            await self.wait_until_healthy()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the primary that the fault affects."""
        self.cluster.signal(self.target, number)

    async def kill(self) -> None:
        """Kill the primary."""
        self._is_killed = True
        self.cluster.kill(self.target)

    async def lose(self, seconds: float) -> None:
        """Kill the primary; it stays away for so many seconds after its replica took its place (`outage`)."""
        await self.outage.over()
        await self.kill()
        self._is_killed, lost = False, self.target
        await eventually(self._has_moved, _HEALING)
        self.outage.begin(lost, await self.cluster.owner(self.slot), seconds, self._bring_back)
        await self.wait_until_healthy()

    async def returned(self) -> None:
        """Wait until a primary that was lost is back, as a replica in sync."""
        await self.outage.over()

    async def _bring_back(self) -> None:
        """Start the server that is away, and wait until it is a replica in sync."""
        away = self.outage.away
        self.cluster.start(away)

        async def is_in_sync() -> bool:
            try:
                replication = await self.cluster.command(away, "INFO", "replication")
            except (RedisError, OSError):
                return False
            return bool(replication.get("master_link_status") == "up")  # only a replica has a link

        await eventually(is_in_sync, _HEALING)

    async def stop(self) -> None:
        """Stop the primary gracefully; it may be back before its replica takes its place."""
        self.signal(signal.SIGTERM)
        await asyncio.to_thread(self.cluster.processes[self.target].wait)

    async def kill_all(self) -> None:
        """Kill all servers."""
        await self.outage.close()
        await self._stack.aclose()

    async def _has_moved(self) -> bool:
        """Return True if another server than that which is down serves the slot."""
        try:
            return await self.cluster.owner(self.slot) not in {0, self.target}
        except (RedisError, OSError):
            return False

    async def _is_healthy(self) -> bool:
        cluster, away = self.cluster, self.outage.away
        try:
            return await cluster.is_whole(away) and await cluster.agrees(away) and await cluster.has_caught_up(away)
        except (RedisError, OSError):
            return False

    async def _hand_over(self, primary: int) -> None:
        """Ask the replica of a primary to take its place, again where it gives up, and wait until it has."""
        replica = await self.cluster.replica_of(primary)
        loop = asyncio.get_running_loop()
        asked = -_ASK_AGAIN

        async def is_primary() -> bool:
            nonlocal asked
            with suppress(RedisError, OSError):
                if "master" in (await self.cluster.nodes(replica))[replica][2]:
                    return True
                if loop.time() - asked >= _ASK_AGAIN:
                    asked = loop.time()
                    await self.cluster.command(replica, "CLUSTER", "FAILOVER")
            return False

        await eventually(is_primary, _HEALING)
