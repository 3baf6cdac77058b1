"""Answers of the API that are kept by their Idempotency-Key, so that a repeated request is not done twice.

A request claims its key before it is done. It leaves its answer there, or releases the key if nothing was done. A key
that stays claimed, because the process ended, is free again after two minutes. Of each holder (a team, or an operator's
token) the newest answers are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_CLAIM_MS = 120_000  # longer than any request takes
_KEPT_MS = 24 * 3600 * 1000
MAX_OF_HOLDER = 10_000
"""Answers: more than requests of one holder can be in progress at the default rate."""

_claim = Script(__package__, "idempotency_claim")


async def claim(redis: Redis, holder: str, token: str, key: str, record: bytes) -> bytes | None:
    """Claim a key of a token with a record, and return None; or return the record that it has already."""
    keys = [redis.key.idempotency(token, key), redis.key.idempotency_of(holder)]
    found: bytes | None = await _claim(redis, keys, [record, _CLAIM_MS, _KEPT_MS, MAX_OF_HOLDER])
    return found


async def keep(redis: Redis, token: str, key: str, record: bytes) -> None:
    """Keep the record of an answer for a day."""
    await redis.set(redis.key.idempotency(token, key), record, px=_KEPT_MS)


async def release(redis: Redis, holder: str, token: str, key: str) -> None:
    """Release a key whose request did nothing."""
    name = redis.key.idempotency(token, key)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.delete(name)
        pipe.zrem(redis.key.idempotency_of(holder), name)
        await pipe.execute()
