"""The lanes of a partition that have new deliveries: a set in Redis, which the router and the sweeper fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.store.driver.client import Redis

_PAGE = 500


async def wait_ready(redis: Redis, partition: int, timeout: float) -> list[str]:
    """Take the lanes of `partition` that have new deliveries, waiting at most `timeout` seconds for the first."""
    _, names = await wait_ready_in(redis, [redis.key.ready(partition)], timeout)
    return names


async def wait_ready_in(redis: Redis, sets: Sequence[str], timeout: float) -> tuple[str, list[str]]:
    """Take the lanes in the first of some `sets` of one server that has any, as `wait_ready` does.

    Returns that set's key with them; without any both are empty.
    """
    first = await redis.bzpopmin(sets, timeout)
    if first is None:
        return "", []
    others = await redis.zpopmin(first[0], _PAGE)
    return first[0].decode(), [first[1].decode(), *(name.decode() for name, _ in others)]


async def mark_ready(redis: Redis, partition: int, lanes: Iterable[str], now_ms: int) -> None:
    """Mark `lanes` as ready: they have new deliveries."""
    scores = dict.fromkeys(lanes, now_ms)
    if scores:
        await redis.zadd(redis.key.ready(partition), scores, nx=True)
