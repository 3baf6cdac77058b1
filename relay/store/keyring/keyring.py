"""The keyring: the signing secrets of our Linq subscriptions, encrypted in one hash, by Linq's id of the subscription.

Linq shows a secret once, so bootstrap stores it before any other step. The ingress caches the decrypted secrets in
memory (`keyring.key_cache`); no other process decrypts them. Each write also sets a new revision, so that the ingress
sees with one small read whether there is anything to read.

A record that cannot be used (`keyring.record`) concerns its own subscription only: every other one is read as usual.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import StoreError
from relay.store.driver.client import ask
from relay.store.driver.lock import exclusive_lock, log_waiting
from relay.store.keyring.record import KeyRecord, UnusableRecord, open_record, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Set  # noqa: PYI025  the name of the ABC
    from contextlib import AbstractAsyncContextManager

    from relay.core.line_secret import LineSecret
    from relay.core.secret import SigningSecret
    from relay.store.driver.client import Redis
    from relay.store.keyring.encryption import Cipher

STRAGGLERS = 30 * 60.0
"""Seconds that a secret is kept after its subscription was deleted: Linq retries a delivery for about 25 minutes."""

_TAG_BYTES = 4
_TAG = re.compile(rb"[0-9a-f]{8}")


class Snapshot(NamedTuple):
    """The whole keyring, still encrypted."""

    revision: bytes | None
    """None if no revision was ever set, so that every read is a full one."""
    rows: Mapping[bytes, bytes]
    """Records by Linq's id of the subscription."""


class KeyUse(NamedTuple):
    """The subscriptions whose secrets need each key."""

    current: Set[str]
    """Ids; their secrets are encrypted with the current key."""
    older: Set[str]
    """Ids; their secrets are encrypted with an older key."""


async def read_records(redis: Redis) -> tuple[list[KeyRecord], list[UnusableRecord]]:
    """Return the records of the keyring, with their secrets still encrypted, and those that are no records."""
    records, broken = [], []
    for name, row in (await ask(redis.hgetall(redis.key.keyring))).items():
        try:
            records.append(parse_record(name, row))
        except UnusableRecord as error:
            broken.append(error)
    return records, broken


class Keyring:
    """The hash of encrypted secrets."""

    def __init__(self, redis: Redis, cipher: Cipher) -> None:
        self._redis = redis
        self._key = redis.key
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

    async def owner_tag(self) -> str | None:
        """Return the tag in the URLs of our subscriptions at Linq; None if none was made yet.

        Raises:
            StoreError: it was changed by another client.
        """
        tag: bytes | None = await ask(self._redis.get(self._key.linq_owner))
        if tag is None:
            return None
        if not _TAG.fullmatch(tag):
            raise StoreError(
                f"the key {self._key.linq_owner} in Redis is not an owner tag: another client changed it; put back the "
                "eight digits that follow owner= in the URLs of the relay's subscriptions at Linq"
            )
        return tag.decode()

    async def make_owner_tag(self) -> None:
        """Store an owner tag, if there is none: it is random, and stays for as long as this Redis has its data."""
        await ask(self._redis.set(self._key.linq_owner, token_hex(_TAG_BYTES), nx=True))

    def exclusively(self, on_wait: Callable[[str], None] = log_waiting) -> AbstractAsyncContextManager[None]:
        """Hold the lock for changes of subscriptions at Linq and of secrets here.

        `on_wait` is called with a sentence about the other process if there is one.

        Raises:
            StoreError: the lock was not free in time.
        """
        return exclusive_lock(self._redis, self._key.keyring_lock, "bootstrap", on_wait)

    async def tidy(self, gone: Collection[str], now: float) -> None:
        """Delete the secrets of subscriptions that are `gone` from Linq, and encrypt the others with the newest key.

        A secret is kept for a while (`STRAGGLERS`): webhooks that Linq signed with it may still arrive. One that cannot
        be used verifies none, so it is deleted with its subscription.
        """
        records, broken = await self.read()
        for record in records:
            if record.subscription_id in gone:
                if not self._can_open(record):
                    await self.forget(record.subscription_id)
                elif record.retire_at is None:
                    await self.retire(record.subscription_id, now)
                elif now > record.retire_at + STRAGGLERS:
                    await self.forget(record.subscription_id)
            elif record.key_id != self._cipher.key_id and self._can_open(record):
                sealed = self._cipher.encrypt(self.open(record).secret)
                await self._write(record.model_copy(update={"sealed": sealed, "key_id": self._cipher.key_id}))
        for unusable in broken:
            if unusable.subscription_id in gone:
                await self.forget(unusable.subscription_id)

    async def forget(self, subscription_id: str) -> None:
        """Delete the secret of a subscription."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hdel(self._key.keyring, subscription_id)
            pipe.set(self._key.keyring_revision, token_hex(8))
            await pipe.execute()

    async def _write(self, record: KeyRecord) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hset(self._key.keyring, record.subscription_id, record.model_dump_json())
            pipe.set(self._key.keyring_revision, token_hex(8))
            await pipe.execute()

    async def snapshot(self, known: bytes | None = None) -> Snapshot | None:
        """Return the keyring; None if its revision is still the `known` one."""
        revision: bytes | None = await ask(self._redis.get(self._key.keyring_revision))
        if revision is not None and revision == known:
            return None
        # A write in between makes the rows newer than the revision, which costs one more read.
        return Snapshot(revision, await ask(self._redis.hgetall(self._key.keyring)))

    async def read(self) -> tuple[list[KeyRecord], list[UnusableRecord]]:
        """Return the stored records, with their secrets still encrypted, and those that are no records."""
        return await read_records(self._redis)

    async def records(self) -> list[KeyRecord]:
        """Return the stored records, with their secrets still encrypted, without those that cannot be parsed."""
        return (await self.read())[0]

    async def key_use(self) -> KeyUse:
        """Return which subscriptions' secrets are encrypted with the current key, and which with an older one."""
        records = await self.records()
        current = {record.subscription_id for record in records if record.key_id == self._cipher.key_id}
        return KeyUse(current, {record.subscription_id for record in records} - current)

    def open(self, record: KeyRecord) -> LineSecret:
        """Return the secret in `record`, decrypted.

        Raises:
            UnusableRecord: it was encrypted with another key, or changed.
        """
        return open_record(self._cipher, record)

    def _can_open(self, record: KeyRecord) -> bool:
        try:
            self.open(record)
        except UnusableRecord:
            return False
        return True
