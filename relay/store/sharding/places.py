"""Places in the streams of several shards: names and ids that say on which shard an entry is.

On the first shard they are as without shards. A stream's name there cannot have a slash, and an id no point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from relay.store.driver.streams import is_entry_id

if TYPE_CHECKING:
    from collections.abc import Iterable

Item = TypeVar("Item")


def entry_name(entry: str, shard: int) -> str:
    """Return the id of an entry for people and programs: on another shard than the first with its number."""
    return f"{entry}.{shard}" if shard else entry


def entry_of(name: str) -> tuple[str, int]:
    """Return the id of an entry on its shard, and the number of that, which may not exist.

    Any other text is returned as it is: it is the id of no entry.
    """
    entry, _, shard = name.partition(".")
    return (entry, int(shard)) if shard.isdecimal() and shard[0] != "0" else (name, 0)


def is_entry_name(text: str) -> bool:
    """Return True if this is the id of an entry on some shard."""
    return is_entry_id(entry_of(text)[0])


def grouped_by_shard(located: Iterable[tuple[Item, int]], shards: int) -> dict[int, list[Item]]:
    """Return items by the number of their shard, without those of shards that do not exist."""
    found: dict[int, list[Item]] = {}
    for item, shard in located:
        if shard < shards:
            found.setdefault(shard, []).append(item)
    return found


def stream_of(place_name: str) -> tuple[str, int]:
    """Return the name of a stream, and the number of its shard, from the name of a place (`streams.merged_shards`)."""
    name, _, shard = place_name.partition("/")
    return name, int(shard) if shard else 0
