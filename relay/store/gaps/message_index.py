"""The message index: the messages for which an event was accepted, in eight bytes each.

The router appends the keys of a batch to a string of the hour, in the commit that routes the batch: one more command
for up to 128 events, and nothing can be routed without it. A string lives for `RELAY_GAP_WINDOW` and two hours. All
together have `MAX_BYTES` at most, 32 million messages; beyond it the oldest hours are deleted, and the index begins
later.

A reader asks of many messages at once, by reading the strings from the hour before the oldest message on: an event can
come hours after its message, but not before it. Two messages have the same key by chance once in 2^64.

Each shard has an index of what was routed there, and its share of the bound. A reader reads all of them: a message is
known if any has it, so also one that was accepted when there were fewer shards.
"""

from __future__ import annotations

import asyncio
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.store.driver.client import ask, ask_together

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis

INDEXED = frozenset({"message.received", "message.sent"})
"""Event types whose messages are in the index."""
KEY_BYTES = 8
MAX_BYTES = 256 * 2**20
HOUR_MS = 3_600_000
_SLACK_MS = 2 * HOUR_MS
_PAGE = 2**20


def message_key(event_type: str, line: str | None, message: str) -> bytes:
    """Return the key of a message that was received or sent on a line; takes 0.9 us.

    The line is in it, since a party that has the secret of one line must not make a message of another look accepted.
    """
    return blake2b(f"{event_type} {line or ''} {message}".encode(), digest_size=KEY_BYTES).digest()


def lifetime_ms(window: float) -> int:
    """Return the life of an hour's string, for a window in seconds; 0 if nothing is indexed."""
    return round(window * 1000) + _SLACK_MS if window else 0


class ReadTo(NamedTuple):
    """The end of what was read of an index."""

    hour: int
    """The newest hour."""
    length: int
    """The bytes that were read of it."""


class MessageIndex:
    """The index of all shards as a reader sees it; it remembers what it has read, and reads only the rest again."""

    def __init__(self, redis: Redis) -> None:
        """`redis` is the first shard."""
        self._parts = [_Part(shard) for shard in redis.shards]

    async def began_ms(self) -> int | None:
        """Return the time from which on every accepted message is in the index; None if no router has begun one.

        A shard that never had an event has none, and lacks nothing.
        """
        begun = await asyncio.gather(*(part.began_ms() for part in self._parts))
        known = [each for each in begun if each is not None]
        for part, began in zip(self._parts, begun, strict=True):
            if known and began is None and await part.had_events():
                return None
        return max(known, default=None)

    async def read(self, since_ms: int, now_ms: int) -> list[ReadTo]:
        """Read the hours from before `since_ms` on; return how far each shard was read."""
        return [await part.read(since_ms, now_ms) for part in self._parts]

    def without_known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return the keys that are in none of the hours that were read."""
        left = {int.from_bytes(key, "little") for key in keys}
        for part in self._parts:
            part.remove_known(left)
        return {key.to_bytes(KEY_BYTES, "little") for key in left}

    @property
    def size(self) -> int:
        """Number of keys that were read."""
        return sum(part.size for part in self._parts)


class _Part:
    """The index of one shard."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key
        self._read: dict[int, array[int]] = {}

    async def began_ms(self) -> int | None:
        began = await ask(self._redis.hget(self._key.gaps, "began"))
        return None if began is None else int(began)

    async def had_events(self) -> bool:
        return bool(await ask(self._redis.hexists(self._key.counts, "accepted")))

    async def read(self, since_ms: int, now_ms: int) -> ReadTo:
        newest = now_ms // HOUR_MS
        first = since_ms // HOUR_MS - 1
        hours = range(min(first, newest), newest + 1)

        def lengths(pipe: Any) -> None:
            for hour in hours:
                pipe.strlen(self._key.messages(hour))

        for hour, length in zip(hours, await ask_together(self._redis, lengths), strict=True):
            await self._read_to(hour, length - length % KEY_BYTES)
        return ReadTo(newest, len(self._read[newest]) * KEY_BYTES)

    def remove_known(self, keys: set[int]) -> None:
        for known in self._read.values():
            if not keys:
                break
            keys.difference_update(known)

    @property
    def size(self) -> int:
        return sum(map(len, self._read.values()))

    async def _read_to(self, hour: int, length: int) -> None:
        known = self._read.setdefault(hour, array("Q"))
        at = len(known) * KEY_BYTES
        while at < length:
            end = min(at + _PAGE, length)
            page = await ask(self._redis.getrange(self._key.messages(hour), at, end - 1))
            page = page[: len(page) - len(page) % KEY_BYTES]
            if not page:
                return
            known.frombytes(page)
            at += len(page)


async def begin_index(redis: Redis, now_ms: int, home: Redis | None = None) -> None:
    """Note the beginning of the index, if it has none: what was accepted before is not in it.

    Another shard than the first one, `home`, that has routed nothing yet lacks nothing, so it does not shorten the
    index: what was accepted before it was added is in those of others.
    """
    if home not in {None, redis} and await ask(redis.hmget(redis.key.counts, ["routed", "unmatched"])) == [None, None]:
        now_ms = 0
    await ask(redis.hsetnx(redis.key.gaps, "began", str(now_ms)))


async def trim_index(redis: Redis, window: float, now_ms: int, most: int = MAX_BYTES) -> int:
    """Delete the oldest hours beyond the bound; return the number of bytes left."""
    newest = now_ms // HOUR_MS
    hours = range(newest, newest - lifetime_ms(window) // HOUR_MS - 1, -1)

    def lengths(pipe: Any) -> None:
        for hour in hours:
            pipe.strlen(redis.key.messages(hour))

    total = 0
    for hour, length in zip(hours, await ask_together(redis, lengths), strict=True):
        if total + length > most:
            await ask(redis.hset(redis.key.gaps, "began", str((hour + 1) * HOUR_MS)))
            await ask(redis.unlink(*(redis.key.messages(old) for old in hours if old <= hour)))
            return total
        total += length
    return total
