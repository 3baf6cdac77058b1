"""The placement of events as a process knows it: by how many shards, and where a repeat may be known.

A process looks at the first shard every few seconds, and at once when a shard has refused its placement
(`fence.StalePlacement`). When the number has changed it advances the shards itself, before it places by the new one:
the process that has decided it may have been killed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from relay.core.errors import SettingsError, StoreUnavailable
from relay.core.sharding.placement import shard_of
from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.driver.replication import Replication
from relay.store.sharding.growth.fence import WrongNumberOfShards, advance
from relay.store.sharding.growth.state import Growth, decide, note_time, read_placement
from relay.store.sharding.number import require_number_of_shards

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.sharding.placement import ShardKey
    from relay.store.driver.client import Redis

_INTERVAL = 2.0  # seconds

log = structlog.get_logger()


class Placement(NamedTuple):
    """The way in which events are placed on shards."""

    shards: int
    """The number by which they are placed."""
    former: int = 0
    """The number before; 0 if there was no other."""
    former_until_ms: int = 0
    """Until when a repeat of an event may be known on its former shard only; Unix milliseconds."""

    def shard(self, key: ShardKey) -> int:
        """Return the number of the shard that takes an event."""
        return shard_of(key, self.shards)

    def former_shard(self, key: ShardKey, shard: int, now_ms: float) -> int | None:
        """Return the number of the shard that may know an event which goes to `shard` now; None if no other does."""
        if now_ms >= self.former_until_ms:
            return None
        former = shard_of(key, self.former)
        return None if former == shard else former


async def current_placement(
    home: Redis, window_ms: int, now_ms: int, replication: Replication | None = None, seen: int = 0
) -> Placement:
    """Return how events are placed; a growth that is decided is put into force on all shards before.

    `window_ms` is the dedupe's. `seen` is the number that a shard was found to have: a greater one than that in use
    proves that it was decided, and a smaller one that the shard has lost its fence.

    Raises:
        WrongNumberOfShards: this process must be restarted.
    """
    clients = len(home.shards)
    try:
        await require_number_of_shards(home)
    except SettingsError as error:
        raise WrongNumberOfShards(" ".join(str(error).split())) from None
    number, growth = await read_placement(home)
    number = number or clients
    if 0 < seen < number <= clients:
        await advance(home.shards, number, number, now_ms, replication)
    if growth is None:
        return Placement(number)
    if growth.target == seen > number:  # the first shard has lost it
        await decide(home, growth, now_ms, replication)
        number = seen
    if number > clients:
        raise WrongNumberOfShards(f"the relay has {number} shards: restart this process with RELAY_SHARDS={number}")
    if growth.target != number:
        return Placement(number)
    return Placement(number, growth.former, await _put_in_force(home, growth, now_ms, replication) + window_ms)


async def _put_in_force(home: Redis, growth: Growth, now_ms: int, replication: Replication | None) -> int:
    """Fence the old shards, unless that was done; return when."""
    if growth.advanced_ms is not None:
        return growth.advanced_ms
    await advance(home.shards, growth.former, growth.target, now_ms, replication)
    await note_time(home, "advanced", now_ms)
    log.info("shards.advanced", shards=growth.target, former=growth.former)
    return now_ms


class PlacementWatch:
    """The placement of events, kept up to date. Enter it as a context."""

    def __init__(
        self,
        home: Redis,
        dedupe_window: float,
        clock: Callable[[], float],
        replicas: int = 0,
        interval: float = _INTERVAL,
    ) -> None:
        """`dedupe_window` in seconds; `clock` returns Unix seconds; `replicas` must confirm a fence."""
        self.placement: Placement | None = None
        """None until the first look has succeeded."""
        self._home = home
        self._window_ms = round(dedupe_window * 1000)
        self._clock = clock
        self._replication = Replication.to_replicas(replicas)
        self._interval = interval
        self._looking: asyncio.Task[Placement] | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with suppress(StoreUnavailable):
            await self.look()
        self._task = asyncio.create_task(self._run(), name="placement watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        await end_task(self._looking)

    async def look(self, seen: int = 0) -> Placement:
        """Return the placement as the first shard has it now; concurrent callers share a look.

        Raises:
            StoreUnavailable: Redis does not answer.
            WrongNumberOfShards: this process must be restarted.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(seen), name="placement look")
            self._looking.add_done_callback(
                lambda task: task.cancelled() or task.exception()
            )  # its callers may be gone
        return await asyncio.shield(self._looking)

    async def _look(self, seen: int) -> Placement:
        now_ms = round(self._clock() * 1000)
        try:
            found = await current_placement(self._home, self._window_ms, now_ms, self._replication, seen)
        except REDIS_ERRORS as error:
            raise StoreUnavailable(f"Redis did not tell the number of shards: {describe(error)}") from error
        if self.placement is not None and found.shards != self.placement.shards:
            log.info("shards.placed", shards=found.shards, former=self.placement.shards)
        self.placement = found
        return found

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            with suppress(StoreUnavailable):
                await self.look()
