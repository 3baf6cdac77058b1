"""A pull group and its seek as a whole, from its parts on every shard.

All parts of a seek go to the same place in the order of ids, which is that of the clocks: exact on the shard of an
entry that was named, and on the others what was routed at that time or later. A part that is ahead of the place goes
back to it, one that is behind skips to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.driver.streams import order_of
from relay.store.sharding.places import entry_name
from relay.store.topics.pull.group_seek import Member, PendingConsumer, Seek, groups_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.store.driver.client import Redis


async def groups_by_shard(home: Redis, topic: str) -> list[list[str]]:
    """Return the consumer groups of a topic on each shard."""
    return [await groups_of(shard, topic) for shard in home.shards]


def whole_seek(parts: Mapping[int, Seek]) -> Seek:
    """Return a seek as a whole, from its parts by shard: the numbers are sums, and the ids are named.

    The group's position, its target and the end are the latest ones of all shards.
    """
    first, *others = parts.values()
    if not others and 0 in parts:
        return first
    counts: dict[str, list[int]] = {}
    for part in parts.values():
        for consumer in part.consumers:
            before, beyond = counts.setdefault(consumer.name, [0, 0])
            counts[consumer.name] = [before + consumer.before, beyond + consumer.beyond]
    following = {n: part.next for n, part in parts.items() if part.next is not None}
    return Seek(
        topic=first.topic,
        group=first.group,
        current=latest({n: part.current for n, part in parts.items()}),
        after=latest({n: part.after for n, part in parts.items()}),
        events=sum(part.events for part in parts.values()),
        next=earliest(following) if following else None,
        last=latest({n: part.last for n, part in parts.items()}),
        entries_read=sum(part.entries_read for part in parts.values()),
        consumers=tuple(PendingConsumer(name, *count) for name, count in sorted(counts.items())),
    )


def whole_members(members: Iterable[Member]) -> tuple[Member, ...]:
    """Return the members of a group, from those of its parts on each shard."""
    found: dict[str, Member] = {}
    for member in members:
        known = found.get(member.name, Member(member.name, 0, member.idle_ms))
        idle_ms = min(known.idle_ms, member.idle_ms)
        found[member.name] = Member(member.name, known.pending + member.pending, idle_ms)
    return tuple(found[name] for name in sorted(found))


def latest(entries: Mapping[int, str]) -> str:
    """Return the name of the latest entry, of one of each shard."""
    shard = max(entries, key=lambda n: (order_of(entries[n]), -n))
    return entry_name(entries[shard], shard)


def earliest(entries: Mapping[int, str]) -> str:
    """Return the name of the earliest entry, of one of each shard."""
    shard = min(entries, key=lambda n: (order_of(entries[n]), n))
    return entry_name(entries[shard], shard)
