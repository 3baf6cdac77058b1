"""A marker of the v2 subscription that was given our secret last, as a keyed fingerprint.

v2's secret is of our own choosing and Linq never shows it, so a changed one could not be seen at Linq. The marker is
deleted before a secret is sent and written when Linq has accepted it: a process that dies in between leaves none, and
the next run sends the secret again. Under a new RELAY_SECRET_KEY it is sent once more as well.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.lock import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractAsyncContextManager

    from redis.asyncio import Redis

    from relay.core.secret import SigningSecret
    from relay.store.keyring.encryption import Cipher


class V2SecretMarker:
    """The marker in Redis."""

    def __init__(self, redis: Redis, seal: Cipher) -> None:
        self._redis = redis
        self._seal = seal

    def exclusively(self) -> AbstractAsyncContextManager[None]:
        """Hold the lock for changes of subscriptions at Linq, in either API; a second process waits.

        Raises:
            StoreError: it waited for too long.
        """
        return exclusive_lock(self._redis, keys.KEYRING_LOCK, "bootstrap")

    async def holder(self, secret: SigningSecret, ids: Iterable[int]) -> int | None:
        """Return the id of the subscription that has `secret`; None if that is unknown."""
        noted: bytes | None = await ask(self._redis.get(keys.LINQ_V2))
        return next((known for known in ids if noted and hmac.compare_digest(self._name(secret, known), noted)), None)

    async def record(self, secret: SigningSecret, subscription_id: int) -> None:
        """Record that Linq has accepted `secret` for this subscription."""
        await ask(self._redis.set(keys.LINQ_V2, self._name(secret, subscription_id)))

    async def forget(self) -> None:
        """Delete the marker, before a secret is sent."""
        await ask(self._redis.delete(keys.LINQ_V2))

    def _name(self, secret: SigningSecret, subscription_id: int) -> bytes:
        return self._seal.fingerprint(secret, f"v2 subscription {subscription_id}").encode()
