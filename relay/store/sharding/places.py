"""Places in the streams of several shards: names and ids that say on which shard an entry is.

On the first shard they are as without shards. A stream's name there cannot have a slash, and an id no point.
"""

from __future__ import annotations


def entry_name(entry: str, shard: int) -> str:
    """Return the id of an entry for people and programs: on another shard than the first with its number."""
    return f"{entry}.{shard}" if shard else entry


def entry_of(name: str) -> tuple[str, int]:
    """Return the id of an entry on its shard, and the number of that, which may not exist.

    Any other text is returned as it is: it is the id of no entry.
    """
    entry, _, shard = name.partition(".")
    return (entry, int(shard)) if shard.isdecimal() and shard[0] != "0" else (name, 0)


def stream_of(place_name: str) -> tuple[str, int]:
    """Return the name of a stream, and the number of its shard, from the name of a place (`streams.merged_shards`)."""
    name, _, shard = place_name.partition("/")
    return name, int(shard) if shard else 0
