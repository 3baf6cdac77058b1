"""The lanes of a partition that have new deliveries: a set in Redis, which the router and the sweeper fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store import keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

_PAGE = 500


async def wait_ready(redis: Redis, partition: int, timeout: float) -> list[str]:
    """Take the lanes of `partition` that have new deliveries, waiting at most `timeout` seconds for the first."""
    first = await redis.bzpopmin([keys.ready(partition)], timeout)
    if first is None:
        return []
    others = await redis.zpopmin(keys.ready(partition), _PAGE)
    return [first[1].decode(), *(name.decode() for name, _ in others)]


async def mark_ready(redis: Redis, partition: int, lanes: Iterable[str], now_ms: int) -> None:
    """Mark `lanes` as ready: they have new deliveries."""
    scores = dict.fromkeys(lanes, now_ms)
    if scores:
        await redis.zadd(keys.ready(partition), scores, nx=True)
