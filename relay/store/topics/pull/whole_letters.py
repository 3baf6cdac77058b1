"""The dead letters of pull groups on every shard; ids of those beside the first one say where they are.

A letter is on the shard of its event, so its entry in the topic is there too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from relay.core.event_filter import EventFilter
from relay.store.sharding.places import entry_name, entry_of, grouped_by_shard, stream_of
from relay.store.sharding.shards import Shards
from relay.store.sharding.streams import merged_shards
from relay.store.topics.pull.dead_letters import GroupLetter, GroupLetters, Replayed, groups_with_letters, letter_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.store.driver.client import Redis
    from relay.store.driver.merged_streams import Entry
    from relay.store.keys import GroupName

_ANY = EventFilter()


class AllGroupLetters:
    """The dead letters of the pull groups of a relay."""

    def __init__(self, home: Redis) -> None:
        """`home` is the client of the first shard."""
        self._shards = Shards.from_home(home)
        self._parts = [GroupLetters(shard) for shard in self._shards.all]

    async def numbers(self, groups: Sequence[GroupName]) -> Counter[GroupName]:
        """Return the number of dead letters of each group."""
        found: Counter[GroupName] = Counter()
        for part in self._parts:
            found.update(await part.numbers(groups))
        return found

    async def places(self, topics: Sequence[str]) -> set[GroupName]:
        """Return the groups of `topics` that have noted where they resume, on any shard."""
        return {name for part in self._parts for name in await part.places(topics)}

    async def of(self, name: GroupName, which: EventFilter = _ANY) -> AsyncIterator[GroupLetter]:
        """Yield the matching dead letters of a group, oldest first."""
        if len(self._parts) == 1:
            async for letter in self._parts[0].of(name, which):
                yield letter
            return
        async for entry in merged_shards(self._shards, lambda shard: {"": shard.key.group_dead(*name)}):
            letter = letter_at(name, entry)
            if which.matches(letter.as_candidate()):
                yield letter

    async def by_ids(self, name: GroupName, ids: Sequence[str]) -> list[GroupLetter]:
        """Return the dead letters of a group with these ids, without those that do not exist."""
        return [
            _named(letter, n)
            for n, here in self._by_shard(ids).items()
            for letter in await self._parts[n].by_ids(name, here)
        ]

    async def replay(self, name: GroupName, ids: Sequence[str]) -> Replayed | None:
        """Give the events of dead letters back, as `GroupLetters.replay`, each on its shard.

        Returns None if a shard has no such group; the others have then done their parts.
        """
        done = {n: await self._parts[n].replay(name, here) for n, here in self._by_shard(ids).items()}
        known = {n: replayed for n, replayed in done.items() if replayed is not None}
        return None if len(known) < len(done) else _sum(known)

    async def would_replay(self, name: GroupName, ids: Sequence[str]) -> Replayed:
        """Return the result that a replay would have."""
        return _sum({n: await self._parts[n].would_replay(name, here) for n, here in self._by_shard(ids).items()})

    async def drop(self, name: GroupName, ids: Sequence[str]) -> int:
        """Delete dead letters; return the number that still existed."""
        return sum([await self._parts[n].drop(name, here) for n, here in self._by_shard(ids).items()])

    async def delete_group(self, name: GroupName, *, with_letters: bool) -> None:
        """Delete a group with its places, and on request with its dead letters.

        The first shard is the last one: a deletion that was interrupted finds the group there, and can be repeated.
        """
        for part in reversed(self._parts):
            await part.delete_group(name, with_letters=with_letters)

    def _by_shard(self, ids: Sequence[str]) -> Mapping[int, list[str]]:
        return grouped_by_shard(map(entry_of, ids), len(self._parts))


async def all_with_letters(home: Redis, topics: Sequence[str]) -> dict[GroupName, int]:
    """Return the number of dead letters of each group that has some on any shard, by topic and name."""
    found: Counter[GroupName] = Counter()
    for shard in home.shards:
        found.update(await groups_with_letters(shard, topics))
    return dict(sorted(found.items()))


def letter_at(name: GroupName, entry: Entry) -> GroupLetter:
    """Return the dead letter of a group in an entry whose place is named by its shard."""
    return _named(letter_of(name, entry.place.id.encode(), entry.fields), stream_of(entry.place.name)[1])


def _named(letter: GroupLetter, shard: int) -> GroupLetter:
    if shard == 0:
        return letter
    record = letter.record._replace(entry=entry_name(letter.record.entry, shard))
    return replace(letter, record=record, entry=letter.entry and entry_name(letter.entry, shard))


def _sum(parts: Mapping[int, Replayed]) -> Replayed:
    gone = [entry_name(letter, n) for n, part in parts.items() for letter in part.gone]
    return Replayed(sum(part.replayed for part in parts.values()), gone)
