"""The acceptor of an ingress with several shards."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from relay.process.timings import DEFAULTS
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.sharded_acceptor import ShardedAcceptor
from relay.store.sharding.growth.watch import PlacementWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from relay.process.timings import Timings
    from relay.store.driver.client import Redis
    from relay.store.inbox.waiting_room import Room

WINDOW = 3600.0
"""The dedupe window, seconds."""


@asynccontextmanager
async def accepting(
    shards: Sequence[Redis],
    room: Room | None = None,
    timings: Timings = DEFAULTS,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[ShardedAcceptor]:
    """Open an acceptor whose looks at the placement are its own: a regular one comes too late for tests."""

    def acceptor_of(here: Mapping[int, Redis], _: int, placed_by: int) -> Acceptor:
        return Acceptor(next(iter(here.values())), WINDOW, clock, 0, timings, room, placed_by, here)

    watch = PlacementWatch(shards[0], WINDOW, clock, interval=600)
    async with ShardedAcceptor(shards, acceptor_of, watch, clock, timings=timings) as acceptor:
        yield acceptor
