"""The time of the last sweep: it shows that a worker runs its cron jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_record = Script(__package__, "record_sweep")


async def record_sweep(redis: Redis, now_ms: int) -> None:
    """Record that a sweep has ended."""
    await _record(redis, [redis.key.maintenance], [now_ms])


async def last_sweep_ms(redis: Redis) -> int | None:
    """Return when a sweep last ended, Unix milliseconds; None if none ever did."""
    found: Any = redis.hget(redis.key.maintenance, "swept_at")  # bytes, although redis-py annotates it as str
    text = await ask(found)
    return int(text) if text else None
