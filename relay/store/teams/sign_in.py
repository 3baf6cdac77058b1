"""Sign-in codes: each opens one session of the page for a token, within minutes.

Redis has a digest of the code only.
"""

from __future__ import annotations

from hashlib import sha256
from secrets import token_urlsafe
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

LIFETIME_MS = 300_000
"""Milliseconds for which a code can be redeemed."""


async def new_code(redis: Redis, token_id: str) -> str:
    """Return a new code for a token."""
    code = token_urlsafe(32)
    await redis.set(_key(redis, code), token_id, px=LIFETIME_MS)
    return code


async def redeem(redis: Redis, code: str) -> str | None:
    """Return the id of the token of a code, which is used up by that; None if it is unknown, used or too old."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.get(_key(redis, code))
        pipe.delete(_key(redis, code))
        found, _ = await pipe.execute()
    return None if found is None else found.decode()


def _key(redis: Redis, code: str) -> str:
    return redis.key.sign_in(sha256(code.encode()).hexdigest())
