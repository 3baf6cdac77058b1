"""The wait for lanes with new deliveries, of one partition on shards on one server, and the read of the pauses.

Each shard has a loop that waits for marks of its lanes, and looks at the pauses at every turn: that is two commands a
second for each shard and partition. Here the loops share them. One command waits for the marks of all shards; those of
a shard whose loop does not wait are kept for it. When the wait ends without any, all loops turn together, and what the
first of them reads is fresh enough for the others.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Self

from redis.exceptions import ResponseError

from relay.process.tasks import end_task
from relay.store.lanes.ready import wait_ready, wait_ready_in
from relay.store.lanes.suspensions import Suspensions

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from relay.store.driver.client import Redis

_SHORTEST = 0.001  # seconds: 0 would be for ever


class SharedReady:
    """The wait for marks of one partition's lanes on the shards of one server. Enter it as a context."""

    def __init__(self, shards: Mapping[int, Redis], partition: int, timeout: float) -> None:
        """`shards` are by number; a wait takes at most `timeout` seconds."""
        self._shards = shards
        self._redis = next(iter(shards.values()))
        self._sets = {shard.key.ready(partition): number for number, shard in shards.items()}
        """The number of the shard, by the key of its marks, in the order in which Redis looks for some."""
        self._partition = partition
        self._timeout = timeout
        self._found: dict[int, list[str]] = {number: [] for number in shards}
        self._reading: asyncio.Task[bool] | None = None
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            await end_task(self._reading)
            if not self._reading.cancelled():
                self._reading.exception()  # no loop is left that it concerns

    async def wait(self, number: int) -> list[str]:
        """Take the lanes of a shard that are marked, waiting a while for the first; every loop that waits gets errors.

        Where Redis refuses the wait for all, since a key of one shard is of a wrong type, each shard waits by itself.
        """
        ends_at = self._loop.time() + self._timeout
        while not self._found[number] and (left := ends_at - self._loop.time()) > 0:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(left), name="marks")
            reading = self._reading
            await asyncio.wait({reading})  # which a loop that ends must not cancel
            if self._reading is reading:
                self._reading = None
            try:
                if not reading.result():
                    break
            except ResponseError:
                return await wait_ready(self._shards[number], self._partition, self._timeout)
        names, self._found[number] = self._found[number], []
        return names

    async def _read(self, seconds: float) -> bool:
        """Keep the marks of one shard; False if there were none in time."""
        key, names = await wait_ready_in(self._redis, list(self._sets), max(seconds, _SHORTEST))
        if names:
            number = self._sets[key] = self._sets.pop(key)  # last from now on, so that it does not keep others waiting
            self._found[number] += names
        return bool(names)


class SharedPauses:
    """The paused lanes, as one of the loops of a partition has read them."""

    def __init__(self, home: Redis) -> None:
        self._suspensions = Suspensions(home)
        self._paused: Container[str] = ()
        self._as_of = -inf
        self._reading = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    async def read(self) -> tuple[Container[str], float]:
        """Return the paused lanes, and the time when reading them began, which is not before this call."""
        called_at = self._loop.time()
        async with self._reading:
            if self._as_of < called_at:
                as_of = self._loop.time()
                self._paused = await self._suspensions.pauses()
                self._as_of = as_of
            return self._paused, self._as_of
