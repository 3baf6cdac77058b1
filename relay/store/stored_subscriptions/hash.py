"""The hash of subscriptions made by the API, with a revision that is new after every write.

Readers ask for the revision, and read the records only when it has changed. A write compares the version of the record
that it was made from, so that of two changes at the same time one is refused.
"""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import Conflict, NotFound, TooMany
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.stored_subscriptions.record import parse_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store.driver.client import Redis
    from relay.store.stored_subscriptions.record import StoredSubscription

MAX_STORED = 1000
"""Maximum number of records: subscriptions, and the deleted ones whose lane was not dropped."""
MAX_PER_TEAM = 100
"""Maximum number of the records of one team."""

_put, _forget = Script(__package__, "subscription_put"), Script(__package__, "subscription_forget")
_FULL, _GONE = -1, -2


class Snapshot(NamedTuple):
    """All records as they are stored."""

    revision: bytes | None
    """None if nothing was ever written, or Redis has lost it."""
    rows: Mapping[bytes, bytes]
    """Records by name."""


class StoredSubscriptions:
    """The hash of records."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._keys = [redis.key.subscriptions, redis.key.subscriptions_revision]

    async def snapshot(self, known: bytes | None = None) -> Snapshot | None:
        """Return all records; None if their revision is still the `known` one."""
        revision: bytes | None = await ask(self._redis.get(self._keys[1]))
        if revision is not None and revision == known:
            return None
        # A write in between makes the rows newer than the revision, which costs one more read.
        return Snapshot(revision, await ask(self._redis.hgetall(self._keys[0])))

    async def get(self, name: str) -> StoredSubscription | None:
        """Return the record of a name; None if there is none.

        Raises:
            StoreError: it is not a record.
        """
        row: bytes | None = await ask(self._redis.hget(self._keys[0], name))  # type: ignore[arg-type]  # typed as text
        return None if row is None else parse_record(name.encode(), row)

    async def put(self, record: StoredSubscription, over: int | None) -> None:
        """Write a record in place of version `over`, or with None of a damaged one; 0 for none.

        Raises:
            Conflict: it was changed meanwhile.
            NotFound: it was deleted meanwhile.
            TooMany: there are too many.
        """
        expected = "" if over is None else over
        arguments: list[str | bytes | int] = [record.name, expected, record.model_dump_json(), token_hex(8), MAX_STORED]
        found = int(await _put(self._redis, self._keys, arguments))
        if found == _FULL:
            raise TooMany(f"there are {MAX_STORED} subscriptions made by the API already; delete and drop some first")
        if found == _GONE:
            raise NotFound(f'there is no subscription "{record.name}"')
        if found:
            raise conflict(record.name, found)

    async def forget(self, name: str, version: int | None = None) -> bool:
        """Delete the record of a name, or only its `version`; return False if there was none."""
        arguments: list[str | bytes | int] = [name, "" if version is None else version, token_hex(8)]
        return bool(await _forget(self._redis, self._keys, arguments))


def conflict(name: str, found: int) -> Conflict:
    """Return the error of a change that was made from another version than the stored one, `found`."""
    return Conflict(f"{name} was changed meanwhile: its version is {found}; look at it and change it again")
