"""Answers of the API that are kept by their Idempotency-Key, so that a repeated request is not done twice.

A request claims its key before it is done. It leaves its answer there, or releases the key if nothing was done. A key
that stays claimed, because the process ended, is free again after two minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_CLAIM_MS = 120_000  # longer than any request takes
_KEPT_MS = 24 * 3600 * 1000


async def claim(redis: Redis, token: str, key: str, record: bytes) -> bytes | None:
    """Claim a key of a token with a record, and return None; or return the record that it has already."""
    name = redis.key.idempotency(token, key)
    while not await redis.set(name, record, nx=True, px=_CLAIM_MS):
        if (found := await redis.get(name)) is not None:  # it may have ended in between
            return bytes(found)
    return None


async def keep(redis: Redis, token: str, key: str, record: bytes) -> None:
    """Keep the record of an answer for a day."""
    await redis.set(redis.key.idempotency(token, key), record, px=_KEPT_MS)


async def release(redis: Redis, token: str, key: str) -> None:
    """Release a key whose request did nothing."""
    await redis.delete(redis.key.idempotency(token, key))
