"""The keyring: the signing secrets of our Linq subscriptions, encrypted in one hash, by Linq's id of the subscription.

Linq shows a secret once, so bootstrap stores it before any other step. The ingress caches the decrypted secrets in
memory (`keyring.key_cache`); no other process decrypts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from relay.core.errors import StoreError
from relay.core.line_secret import LineSecret
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.lock import exclusive_lock, log_waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractAsyncContextManager

    from redis.asyncio import Redis

    from relay.core.secret import SigningSecret
    from relay.store.keyring.encryption import Cipher

STRAGGLERS = 30 * 60.0
"""Seconds that a secret is kept after its subscription was deleted: Linq retries a delivery for about 25 minutes."""


class KeyRecord(BaseModel):
    """A generation of a line's Linq subscription, with its encrypted secret."""

    model_config = ConfigDict(frozen=True)

    line: str | None
    """None for a Linq subscription that spans the account."""
    generation: int
    subscription_id: str
    """Linq's id of the subscription."""
    sealed: str
    key_id: str = ""
    """The id of the key that encrypted it."""
    stored_at: int
    """Unix seconds."""
    retire_at: int | None = None
    """Unix seconds: when its successor replaces the subscription, or when it was found missing at Linq."""


class Keyring:
    """The hash of encrypted secrets."""

    def __init__(self, redis: Redis, cipher: Cipher) -> None:
        self._redis = redis
        self._cipher = cipher

    async def store(
        self, line: str | None, generation: int, subscription_id: str, secret: SigningSecret, now: float
    ) -> None:
        """Encrypt and store the secret of a subscription."""
        record = KeyRecord(
            line=line,
            generation=generation,
            subscription_id=subscription_id,
            sealed=self._cipher.encrypt(secret),
            key_id=self._cipher.key_id,
            stored_at=int(now),
        )
        await self._write(record)

    async def retire(self, subscription_id: str, at: float) -> None:
        """Record when the subscription of a stored secret is replaced; Unix seconds."""
        for record in await self.records():
            if record.subscription_id == subscription_id:
                await self._write(record.model_copy(update={"retire_at": int(at)}))

    def exclusively(self, on_wait: Callable[[str], None] = log_waiting) -> AbstractAsyncContextManager[None]:
        """Hold the lock for changes of subscriptions at Linq and of secrets here.

        `on_wait` is called with a sentence about the other process if there is one.

        Raises:
            StoreError: the lock was not free in time.
        """
        return exclusive_lock(self._redis, keys.KEYRING_LOCK, "bootstrap", on_wait)

    async def tidy(self, gone: Collection[str], now: float) -> None:
        """Delete the secrets of subscriptions that are `gone` from Linq, and encrypt the others with the newest key.

        A secret is kept for a while (`STRAGGLERS`): webhooks that Linq signed with it may still arrive.
        """
        for record in await self.records():
            if record.subscription_id in gone:
                if record.retire_at is None:
                    await self.retire(record.subscription_id, now)
                elif now > record.retire_at + STRAGGLERS:
                    await self.forget(record.subscription_id)
            elif record.key_id != self._cipher.key_id:
                sealed = self._cipher.encrypt(self.open(record).secret)
                await self._write(record.model_copy(update={"sealed": sealed, "key_id": self._cipher.key_id}))

    async def forget(self, subscription_id: str) -> None:
        """Delete the secret of a subscription."""
        await ask(self._redis.hdel(keys.KEYRING, subscription_id))

    async def _write(self, record: KeyRecord) -> None:
        await ask(self._redis.hset(keys.KEYRING, record.subscription_id, record.model_dump_json()))

    async def records(self) -> list[KeyRecord]:
        """Return all stored records, with their secrets still encrypted.

        Raises:
            StoreError: the hash contains a field of another kind.
        """
        rows = await ask(self._redis.hgetall(keys.KEYRING))
        records = []
        for name, row in rows.items():
            try:
                records.append(KeyRecord.model_validate_json(row))
            except ValidationError:
                raise StoreError(
                    f"the field {name.decode(errors='replace')} of {keys.KEYRING} is not the record of a secret: "
                    "delete it (HDEL), then run relay bootstrap apply to replace the subscription"
                ) from None
        return records

    def open(self, record: KeyRecord) -> LineSecret:
        """Return the secret in `record`, decrypted.

        Raises:
            StoreError: it was encrypted with another key.
        """
        return LineSecret(line=record.line, generation=record.generation, secret=self._cipher.decrypt(record.sealed))
