"""Outages: times in which no ingress could accept webhooks for so long that Linq has given up on some.

Every ingress notes each second that it reaches Redis (`fleet.processes`). The first note after more than 25 minutes
records the outage, whether the ingress or Redis was away. It stays until what it lost was put back.

With several shards it notes that on each, since each refuses its own events while its primary is away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from relay.store.driver.client import ask

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


SETTLED_AFTER = 1800.0
"""Seconds after which Linq has given up on an event."""


class Outage(NamedTuple):
    """An outage, Unix milliseconds."""

    from_ms: int
    to_ms: int


async def pending_outage(redis: Redis) -> Outage | None:
    """Return the outage that is not settled yet; several count as one, from the first to the last."""
    found = [each for each in await asyncio.gather(*map(_outage_of, redis.shards)) if each is not None]
    return Outage(min(each.from_ms for each in found), max(each.to_ms for each in found)) if found else None


async def forget_outage(redis: Redis) -> None:
    """Forget the outage."""
    for shard in redis.shards:
        await ask(shard.hdel(shard.key.gaps, "outage_from", "outage_to"))


async def _outage_of(shard: Redis) -> Outage | None:
    begin, end = await ask(shard.hmget(shard.key.gaps, ["outage_from", "outage_to"]))
    return None if begin is None or end is None else Outage(int(begin), int(end))
