"""The topic of a soak: which event each entry has, and trimming, with an exact record of what each group lost by it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from relay.store.topics.retention import Bounds, trim_topic
from tests.chaos.events import number_of
from tests.soak.options import STREAM, TOPIC
from tests.soak.records import Entry, GroupRecord, entry_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store.driver.client import Redis

_PAGE = 1000
_ALL = 1_000_000


class Topic:
    """A reader of the topic, ahead of every trim."""

    def __init__(self, redis: Redis, groups: Mapping[str, GroupRecord]) -> None:
        self._redis = redis
        self._groups = groups
        self._position = "0-0"
        self._reading = asyncio.Lock()
        self.routed: dict[int, Entry] = {}
        self.chats: dict[int, str] = {}
        self.numbers: dict[Entry, int] = {}
        self.repeated: list[int] = []
        self.removed = 0
        self.needed = 0

    async def read(self) -> None:
        """Read to the end."""
        async with self._reading:
            while rows := await self._redis.xrange(STREAM, f"({self._position}", "+", count=_PAGE):
                for entry, fields in rows:
                    self._record(entry_of(entry), fields)
                self._position = rows[-1][0].decode()

    def _record(self, entry: Entry, fields: dict[bytes, bytes]) -> None:
        number = number_of(fields[b"id"].decode())
        assert number is not None
        if number in self.routed:
            self.repeated.append(number)
        self.routed[number], self.numbers[entry] = entry, number
        self.chats[number] = fields[b"chat"].decode()

    async def trim(self, keep: float) -> None:
        """Remove what is older than so many seconds and needed by no group, by the relay's own retention."""
        await self.read()
        trimmed = await trim_topic(self._redis, TOPIC, Bounds(age=keep), round(time.time() * 1000))
        self.removed += trimmed.removed
        self.needed += trimmed.needed

    async def trim_ahead(self, group: str, share: float) -> int:
        """Remove a share of what a group has not read, and all before it; return how many entries it had not read.

        Positions and pending entries of all groups are read in the transaction that trims, so what each of them loses
        is exactly known.
        """
        [row] = [row for row in await self._redis.xinfo_groups(STREAM) if row["name"].decode() == group]
        unread = await self._redis.xrange(STREAM, f"({row['last-delivered-id'].decode()}", "+", count=_ALL)
        if not unread:
            return 0
        await self.read()  # after `unread`: whatever is removed has been recorded
        first = unread[int(share * (len(unread) - 1))][0]
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xinfo_groups(STREAM)
            for name in self._groups:
                pipe.xpending_range(STREAM, name, "-", "+", _ALL)
            pipe.xtrim(STREAM, minid=first, approximate=False)
            positions, *pending, removed = await pipe.execute(raise_on_error=False)
        self.removed += removed
        self._record_lost(entry_of(first), positions, dict(zip(self._groups, pending, strict=True)))
        return len(unread)

    async def destroy(self, group: str) -> None:
        """Destroy a group; record what nobody can tell of any more: what was trimmed, and not noticed yet."""
        await self.read()
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xinfo_groups(STREAM)
            pipe.xpending_range(STREAM, group, "-", "+", _ALL)
            pipe.xgroup_destroy(STREAM, group)
            rows, pending, _ = await pipe.execute()
        [position] = [entry_of(row["last-delivered-id"]) for row in rows if row["name"].decode() == group]
        unnoticed = {self.numbers.get(entry_of(row["message_id"])) for row in pending}
        unnoticed |= {number for entry, number in self.numbers.items() if entry > position}
        self._groups[group].uncountable |= self._groups[group].trimmed & unnoticed

    def _record_lost(self, first: Entry, positions: list[dict[str, Any]], pending: dict[str, Any]) -> None:
        """Record what each group lost of the entries before `first`."""
        read = {row["name"].decode(): entry_of(row["last-delivered-id"]) for row in positions}
        counted = {row["name"].decode() for row in positions if row["entries-read"] is not None}
        for name, group in self._groups.items():
            position = read.get(name, (0, 0))
            unread = {number for entry, number in self.numbers.items() if position < entry < first}
            group.trimmed |= unread
            group.uncountable |= set() if name in counted else unread
            rows = pending[name] if isinstance(pending[name], list) else []  # an error: the group was just deleted
            for row in rows:
                entry = entry_of(row["message_id"])
                if entry < first and entry in self.numbers:
                    group.trimmed.add(self.numbers[entry])
                    if row["consumer"].decode() in group.living:
                        group.uncountable.add(self.numbers[entry])
