"""Mutual exclusion over all processes and machines: redis-py's lock, renewed while it is needed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from relay.core.errors import StoreError
from relay.process.tasks import end_task
from relay.store.driver.client import RedisTrouble

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

TIMEOUT = 60.0
"""Seconds that a second process waits for the first."""

_LENGTH = 15.0  # seconds until the lock of a killed process expires
_RENEW_INTERVAL = 5.0

log = structlog.get_logger()


@asynccontextmanager
async def exclusive_lock(redis: Redis, key: str, what: str) -> AsyncIterator[None]:
    """Hold the lock at `key` while the context is open; `what` names the work in errors.

    Raises:
        StoreError: another process has held it for `TIMEOUT` seconds.
    """
    lock = Lock(redis, key, timeout=_LENGTH, blocking_timeout=TIMEOUT, thread_local=False)
    if not await lock.acquire():
        raise StoreError(f"another {what} has been running for {TIMEOUT:.0f} s; try again when it is done")
    heartbeat = asyncio.create_task(_renew(lock, what), name=f"lock {key}")
    try:
        yield
    finally:
        await end_task(heartbeat)
        with suppress(LockError, *RedisTrouble):  # it expires soon
            await lock.release()


async def _renew(lock: Lock, what: str) -> None:
    while True:
        await asyncio.sleep(_RENEW_INTERVAL)
        try:
            await lock.reacquire()
        except LockError:
            log.warning("lock.lost", what=what, note="another process may be running now; the next run repairs it")
            return
        except RedisTrouble:
            continue
