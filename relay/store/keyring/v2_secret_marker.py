"""Which of our v2 subscriptions at Linq was given which secret last, as a keyed fingerprint.

v2's secret is of our own choosing and Linq never shows it, so a changed one could not be seen at Linq. The note is
taken away before a secret is sent and written when Linq has taken it: whoever dies in between leaves none, and the next
run sends the secret again. Under a new RELAY_SECRET_KEY it is sent once more as well.
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
    """The note of it."""

    def __init__(self, redis: Redis, seal: Cipher) -> None:
        self._redis = redis
        self._seal = seal

    def exclusively(self) -> AbstractAsyncContextManager[None]:
        """Held by whoever changes subscriptions at Linq, in either API; a second one waits.

        Raises:
            StoreError: it waited for too long.
        """
        return exclusive_lock(self._redis, keys.KEYRING_LOCK, "bootstrap")

    async def holder(self, secret: SigningSecret, ids: Iterable[int]) -> int | None:
        """Which of the subscriptions with these ids was given `secret`, and no other since; None if that is unknown."""
        noted: bytes | None = await ask(self._redis.get(keys.LINQ_V2))
        return next((one for one in ids if noted and hmac.compare_digest(self._name(secret, one), noted)), None)

    async def record(self, secret: SigningSecret, subscription_id: int) -> None:
        """Linq has taken `secret` for this subscription."""
        await ask(self._redis.set(keys.LINQ_V2, self._name(secret, subscription_id)))

    async def forget(self) -> None:
        """A secret is about to be sent."""
        await ask(self._redis.delete(keys.LINQ_V2))

    def _name(self, secret: SigningSecret, subscription_id: int) -> bytes:
        return self._seal.fingerprint(secret, f"v2 subscription {subscription_id}").encode()
