"""The hash of subscriptions made by the API, with a revision that is new after every write.

Readers ask for the revision, and read the records only when it has changed. A write compares the version of the record
that it was made from, so that of two changes at the same time one is refused.
"""

from __future__ import annotations

from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from relay.core.errors import ChangedMeanwhile, NotFound, StoreError, TooMany
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.stored_subscriptions.record import parse_record, seal, unseal

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.keyring.encryption import Cipher
    from relay.store.stored_subscriptions.record import StoredSubscription

MAX_STORED = 1000
"""Maximum number of records: subscriptions, and the deleted ones whose lane was not dropped."""
MAX_PER_TEAM = 100
"""Maximum number of the records of one team."""

_put, _forget = Script(__package__, "subscription_put"), Script(__package__, "subscription_forget")
_FULL, _GONE = -1, -2


class StoredSubscriptions:
    """The hash of records."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = [redis.key.subscriptions, redis.key.subscriptions_revision]

    async def put(self, record: StoredSubscription, over: int) -> None:
        """Write a record in place of version `over`; 0 for none.

        Raises:
            ChangedMeanwhile: it was changed meanwhile.
            NotFound: it was deleted meanwhile.
            TooMany: there are too many.
        """
        arguments: list[str | bytes | int] = [record.name, over, record.model_dump_json(), token_hex(8), MAX_STORED]
        found = int(await _put(self._redis, self._keys, arguments))
        if found == _FULL:
            raise TooMany(f"there are {MAX_STORED} subscriptions made by the API already; delete and drop some first")
        if found == _GONE:
            raise NotFound(f'there is no subscription "{record.name}"')
        if found:
            raise conflict(record.name, found)

    async def read(self) -> list[StoredSubscription]:
        """Return the records that can be parsed, but for those of deleted subscriptions."""
        rows: dict[bytes, bytes] = await ask(self._redis.hgetall(self._keys[0]))
        records: list[StoredSubscription] = []
        for name, row in sorted(rows.items()):
            with suppress(StoreError):  # its subscription is shown as unusable
                records.append(parse_record(name, row))
        return [record for record in records if not record.deleted]

    async def of_older_keys(self, cipher: Cipher) -> int:
        """Count the subscriptions whose secrets an older key has encrypted."""
        return sum(record.key_id != cipher.key_id for record in await self.read())

    async def encrypt_again(self, cipher: Cipher) -> int:
        """Encrypt with the newest key what an older one has encrypted; return the number of subscriptions."""
        count = 0
        for record in await self.read():
            if record.key_id == cipher.key_id:
                continue
            with suppress(
                StoreError, ChangedMeanwhile, NotFound
            ):  # no key for it; or changed meanwhile, with the newest key
                await self.put(record.model_copy(update=seal(cipher, unseal(cipher, record))), record.version)
                count += 1
        return count

    async def forget(self, name: str, version: int | None = None) -> bool:
        """Delete the record of a name, or only its `version`; return False if there was none."""
        arguments: list[str | bytes | int] = [name, "" if version is None else version, token_hex(8)]
        return bool(await _forget(self._redis, self._keys, arguments))


def conflict(name: str, found: int) -> ChangedMeanwhile:
    """Return the error of a change that was made from another version than the stored one, `found`."""
    return ChangedMeanwhile(f"{name} was changed meanwhile: its version is {found}; look at it and change it again")
