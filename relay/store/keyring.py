"""The keyring: the signing secrets of our Linq subscriptions, sealed in one hash, by Linq's id of the subscription.

Linq shows a secret once, so bootstrap stores it here before it does anything else. The ingress keeps what it read in
memory (`store.key_cache`); nobody else opens the seals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from relay.core.errors import StoreError
from relay.core.known_secret import KnownSecret
from relay.store import names
from relay.store.connect import ask

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.core.secret import SigningSecret
    from relay.store.seal import Seal


class KeyRecord(BaseModel):
    """One generation of one line's Linq subscription, with its sealed secret."""

    model_config = ConfigDict(frozen=True)

    line: str | None
    """None for a Linq subscription that spans the account."""
    generation: int
    subscription_id: str
    """Linq's id of the subscription."""
    sealed: str
    stored_at: int
    """Unix seconds."""


class Keyring:
    """The hash of sealed secrets."""

    def __init__(self, redis: Redis, seal: Seal) -> None:
        self._redis = redis
        self._seal = seal

    async def store(
        self, line: str | None, generation: int, subscription_id: str, secret: SigningSecret, now: float
    ) -> None:
        """Seals and keeps the secret of one subscription."""
        record = KeyRecord(
            line=line,
            generation=generation,
            subscription_id=subscription_id,
            sealed=self._seal.close(secret),
            stored_at=int(now),
        )
        await ask(self._redis.hset(names.KEYRING, subscription_id, record.model_dump_json()))

    async def forget(self, subscription_id: str) -> None:
        """Removes the secret of one subscription."""
        await ask(self._redis.hdel(names.KEYRING, subscription_id))

    async def records(self) -> list[KeyRecord]:
        """Everything that is stored, still sealed.

        Raises:
            StoreError: the hash holds something else.
        """
        rows = await ask(self._redis.hgetall(names.KEYRING))
        try:
            return [KeyRecord.model_validate_json(row) for row in rows.values()]
        except ValidationError as error:
            raise StoreError(f"{names.KEYRING} holds something that is not a key record: {error}") from None

    def open(self, record: KeyRecord) -> KnownSecret:
        """The secret in `record`.

        Raises:
            StoreError: it was sealed with another key.
        """
        return KnownSecret(line=record.line, generation=record.generation, secret=self._seal.open(record.sealed))
