"""The dead letters of a lane on every shard; the ids of those beside the first one say where they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from relay.core.event_filter import EventFilter
from relay.store.lanes.dead_letters import DeadLetter, DeadLetters, letter_of
from relay.store.sharding.places import entry_name, entry_of, grouped_by_shard, stream_of
from relay.store.sharding.shards import Shards
from relay.store.sharding.streams import merged_shards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Entry

_ANY = EventFilter()


class AllDeadLetters:
    """The dead letters of every lane of a relay."""

    def __init__(self, home: Redis) -> None:
        """`home` is the client of the first shard."""
        self._shards = Shards.from_home(home)
        self._parts = [DeadLetters(shard) for shard in self._shards.all]

    async def of(self, subscription: str, event_filter: EventFilter = _ANY) -> AsyncIterator[DeadLetter]:
        """Yield the matching dead letters of a subscription, oldest first; none if they were overwritten."""
        if len(self._parts) == 1:
            async for letter in self._parts[0].of(subscription, event_filter):
                yield letter
            return
        async for entry in merged_shards(
            self._shards, lambda shard: {subscription: shard.key.lane(subscription, "dead")}
        ):
            letter = letter_at(entry)
            if event_filter.matches(letter.as_candidate()):
                yield letter

    async def by_ids(self, subscription: str, ids: Sequence[str]) -> list[DeadLetter]:
        """Return the dead letters of a subscription with these ids, without those that do not exist."""
        return [
            _named(letter, shard)
            for shard, entries in self._by_shard(ids).items()
            for letter in await self._parts[shard].by_ids(subscription, entries)
        ]

    async def replay(self, subscription: str, ids: Sequence[str], now_ms: int) -> int:
        """Replay dead letters, as `DeadLetters.replay`, each on its shard."""
        by_shard = self._by_shard(ids).items()
        return sum([await self._parts[shard].replay(subscription, entries, now_ms) for shard, entries in by_shard])

    async def drop(self, subscription: str, ids: Sequence[str], now_ms: int) -> int:
        """Delete dead letters; return the number that still existed."""
        by_shard = self._by_shard(ids).items()
        return sum([await self._parts[shard].drop(subscription, entries, now_ms) for shard, entries in by_shard])

    def _by_shard(self, ids: Sequence[str]) -> Mapping[int, list[str]]:
        return grouped_by_shard(map(entry_of, ids), len(self._parts))


def letter_at(entry: Entry) -> DeadLetter:
    """Return the dead letter of an entry whose place is named by its subscription and its shard."""
    subscription, shard = stream_of(entry.place.name)
    return _named(letter_of(subscription, entry.place.id.encode(), entry.fields), shard)


def _named(letter: DeadLetter, shard: int) -> DeadLetter:
    if shard == 0:
        return letter
    return replace(letter, record=letter.record._replace(entry=entry_name(letter.record.entry, shard)))
