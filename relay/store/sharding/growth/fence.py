"""The fence of a shard: from one moment on it takes no event by the former number of shards.

A shard notes by which number events are placed there, among its counts: the accepting scripts look at these anyway
(`placed.inc.lua`), and a key of its own would cost 3 % of Redis's instructions for a lone event. A shard of a relay
that never grew has none, and takes any. In the step that advances the number, the last id of the inbox is noted: what
was accepted by the former number is up to there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import StoreUnavailable
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis
    from relay.store.driver.replication import Replication

_NUMBER = "placed_by"

_advance = Script(__package__, "advance_shard", names_all_keys=True)


class StalePlacement(StoreUnavailable):
    """A shard has taken nothing: events are placed by another number of shards there."""

    def __init__(self, shards: int) -> None:
        """`shards` is the number that the shard has."""
        self.shards = shards
        super().__init__(
            f"events are placed by {shards} shards: this process must be restarted with RELAY_SHARDS={shards}"
        )


class WrongNumberOfShards(StoreUnavailable):
    """This process has another number of shards than the relay, and must be restarted."""


class Fence(NamedTuple):
    """The placement of events as a shard notes it."""

    shards: int
    """The number of shards by which events are placed there."""
    inbox: str
    """The last id in the inbox when that began; empty if it was never another number."""
    at_ms: int


async def prepare_fences(shards: Sequence[Redis], number: int) -> None:
    """Store the number in use on each shard, so that the new ones accept nothing before the old ones are fenced."""
    for shard in shards:
        await ask(shard.hsetnx(shard.key.counts, _NUMBER, str(number)))


async def advance(
    shards: Sequence[Redis], former: int, target: int, now_ms: int, replication: Replication | None = None
) -> None:
    """Fence the `former` old shards, then open the new ones; does nothing where that is done.

    Raises an error of the client if a shard cannot be reached: then events must not be placed by the target yet.
    """
    for part in (shards[:former], shards[former:target]):
        await asyncio.gather(
            *(
                _advance(shard, [shard.key.counts, shard.key.fence, shard.key.inbox], [target, now_ms], replication)
                for shard in part
            )
        )


async def fence_of(shard: Redis) -> Fence | None:
    """Return the fence of a shard; None if it has none."""
    async with shard.pipeline(transaction=False) as pipe:
        pipe.hget(shard.key.counts, _NUMBER)
        pipe.hmget(shard.key.fence, ["inbox", "at"])
        number, (inbox, at_ms) = await pipe.execute()
    if number is None:
        return None
    return Fence(int(number), (inbox or b"").decode(), int(at_ms or 0))
