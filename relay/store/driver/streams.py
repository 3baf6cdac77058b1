"""Operations on any stream: creation of groups, order of ids, pages of entries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ResponseError

from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relay.store.driver.client import Redis

_LAST_SEQUENCE = 2**64 - 1
_PAGE = 250  # entries; reading them blocks Redis for about 1 ms

SKEW_MS = 60_000
"""Tolerated lead of a process's clock over Redis's, which orders the entries of a stream."""

_ID = re.compile(r"\d{1,16}-\d{1,19}", re.ASCII)

Item = TypeVar("Item")

_count = Script(__package__, "count_entries")


def pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Return `items` in pages of up to `size`: a long script or pipeline blocks Redis."""
    return (items[start : start + size] for start in range(0, len(items), size))


def is_missing_group(error: ResponseError) -> bool:
    """Return True if Redis says that the stream or its group does not exist."""
    return "NOGROUP" in str(error) or "UNBLOCKED" in str(error)


def is_missing_stream(error: Exception) -> bool:
    """Return True if XGROUP failed because its stream does not exist."""
    return "requires the key to exist" in str(error)


def is_no_such_key(error: Exception) -> bool:
    """Return True if XINFO failed because its stream does not exist."""
    return "no such key" in str(error)


async def ensure_group(redis: Redis, stream: str, group: str, start: str) -> bool:
    """Create the group of `stream`, and the stream, unless they exist; return True if the group is new.

    A new group gets the entries after the id `start`: `0` means all, `$` only future ones.
    """
    try:
        await redis.xgroup_create(stream, group, id=start, mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" in str(error):
            return False
        raise
    return True


async def count_between(redis: Redis, stream: str, after: str, last: str = "+") -> int:
    """Count the entries of `stream` after the id `after`, up to and including `last`; Redis reads them all."""
    if last != "+" and order_of(after) >= order_of(last):
        return 0
    count, found = 0, _PAGE
    while found == _PAGE:
        found, end = await _count(redis, [stream], [after, last, _PAGE])
        count, after = count + found, end.decode()
    return count


def lag_of(group: Mapping[str, Any], info: Mapping[str, Any]) -> int | None:
    """Return Redis's number of entries that a group has not read; None if entries may be missing among them."""
    first = info["first-entry"][0].decode() if info["first-entry"] else ""
    return lag_in(int(info["length"]), first, group["last-delivered-id"].decode(), group.get("lag"))


def lag_in(length: int, first: str, position: str, lag: int | None) -> int | None:
    """Return the same of a stream with this first entry (empty if there is none) and a group at this position."""
    if not first or order_of(position) < order_of(first):
        return length  # all that is kept
    return None if lag is None or lag > length else lag


def is_entry_id(text: str) -> bool:
    """Return True if `text` is the id of an entry, such as `1789377302417-0`."""
    return _ID.fullmatch(text) is not None


def order_of(entry: str) -> tuple[int, int]:
    """Return the sort key of a stream id."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)


def id_before(entry: str) -> str:
    """Return the greatest stream id below `entry`: the position of a group that gets `entry` next."""
    milliseconds, sequence = map(int, entry.split("-"))
    if sequence:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{_LAST_SEQUENCE}" if milliseconds else "0-0"
