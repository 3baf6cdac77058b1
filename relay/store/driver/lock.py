"""Mutual exclusion over all processes and machines: redis-py's lock as a lease with a heartbeat.

The value of the lock names its holder, so a process that has to wait says at once for whom. A killed holder sends no
heartbeat, and its lock expires within `LEASE` seconds; one that ends in order, or on Ctrl-C or SIGTERM, releases it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio.lock import Lock
from redis.exceptions import LockError

from relay.core.errors import StoreError
from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.store.driver.client import Redis

TIMEOUT = 60.0
"""Seconds that a second process waits for the first."""

LEASE = 5.0
"""Seconds from the last heartbeat of a holder to the end of its lock: four heartbeats may fail."""

_HEARTBEAT = 1.0

log = structlog.get_logger()


class Holder(BaseModel):
    """The process that holds a lock."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    host: str
    pid: int
    since: int
    """Unix seconds."""
    nonce: str
    """Distinguishes two locks of one process."""

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}, since {datetime.fromtimestamp(self.since, UTC):%H:%M:%S} UTC"


def log_waiting(message: str) -> None:
    """Log that a lock is waited for."""
    log.warning("lock.waiting", note=message)


@asynccontextmanager
async def exclusive_lock(
    redis: Redis, key: str, what: str, on_wait: Callable[[str], None] = log_waiting
) -> AsyncIterator[None]:
    """Hold the lock at `key` while the context is open; `what` names the work in messages.

    `on_wait` is called once, with a sentence about the holder, if the lock is not free.

    Raises:
        StoreError: another process has held it for `TIMEOUT` seconds.
    """
    lock = Lock(redis, key, timeout=LEASE, blocking_timeout=TIMEOUT, thread_local=False)
    token = Holder(
        host=socket.gethostname(), pid=os.getpid(), since=int(time.time()), nonce=uuid.uuid4().hex
    ).model_dump_json()
    if not await lock.acquire(token=token, blocking=False):
        holder = await _holder(redis, key)
        on_wait(
            f"another {what} ({holder}) holds the lock; waiting up to {TIMEOUT:.0f} s "
            f"(if it was killed, its lock ends within {LEASE:.0f} s)"
        )
        if not await lock.acquire(token=token):
            raise StoreError(
                f"another {what} ({holder}) has been running for {TIMEOUT:.0f} s; try again when it is done"
            )
    heartbeat = asyncio.create_task(_renew(lock, what), name=f"lock {key}")
    try:
        yield
    finally:
        await end_task(heartbeat)
        with suppress(LockError, *REDIS_ERRORS):  # it expires soon
            await lock.release()


async def _holder(redis: Redis, key: str) -> str:
    """Describe the holder of a lock; an older release leaves no name."""
    value: bytes | None = await ask(redis.get(key))
    try:
        return str(Holder.model_validate_json(value or b""))
    except ValidationError:
        return "of unknown origin"


async def _renew(lock: Lock, what: str) -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT)
        try:
            await lock.reacquire()
        except LockError:
            log.warning("lock.lost", what=what, note="another process may be running now; the next run repairs it")
            return
        except REDIS_ERRORS:
            continue
