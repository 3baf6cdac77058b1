"""A marker of the v2 subscription that was given our secret last, as a keyed fingerprint.

We choose v2's secret and Linq never shows it, so a change cannot be detected at Linq. The marker is
deleted before a secret is sent and written when Linq has accepted it: if a process dies in between, there is no
marker, and the next run sends the secret again. It is also sent again under a new RELAY_SECRET_KEY.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from relay.store.driver.client import ask
from relay.store.driver.lock import exclusive_lock, log_waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from relay.core.secret import SigningSecret
    from relay.store.driver.client import Redis
    from relay.store.keyring.encryption import Cipher


class V2SecretMarker:
    """The marker in Redis."""

    def __init__(self, redis: Redis, cipher: Cipher) -> None:
        self._redis = redis
        self._key = redis.key
        self._cipher = cipher

    def exclusively(self, on_wait: Callable[[str], None] = log_waiting) -> AbstractAsyncContextManager[None]:
        """Hold the lock for changes of subscriptions at Linq, in either API.

        `on_wait` is called with a sentence about the other process if there is one.

        Raises:
            StoreError: the lock was not free in time.
        """
        return exclusive_lock(self._redis, self._key.keyring_lock, "bootstrap", on_wait)

    async def holder(self, secret: SigningSecret, ids: Iterable[int]) -> int | None:
        """Return the id of the subscription that has `secret`; None if that is unknown."""
        marker: bytes | None = await ask(self._redis.get(self._key.linq_v2))
        return next(
            (known for known in ids if marker and hmac.compare_digest(self._marker(secret, known), marker)), None
        )

    async def record(self, secret: SigningSecret, subscription_id: int) -> None:
        """Record that Linq has accepted `secret` for this subscription."""
        await ask(self._redis.set(self._key.linq_v2, self._marker(secret, subscription_id)))

    async def forget(self) -> None:
        """Delete the marker, before a secret is sent."""
        await ask(self._redis.delete(self._key.linq_v2))

    def _marker(self, secret: SigningSecret, subscription_id: int) -> bytes:
        return self._cipher.fingerprint(secret, f"v2 subscription {subscription_id}").encode()
