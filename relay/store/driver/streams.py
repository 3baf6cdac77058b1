"""Operations on any stream: groups made and missed, ids in order, entries a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis.asyncio import Redis

_LAST_SEQUENCE = 2**64 - 1
_PAGE = 1000

Item = TypeVar("Item")


def pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """`items` in parts of up to `size`: a script or a pipeline of too many holds Redis up."""
    return (items[start : start + size] for start in range(0, len(items), size))


def is_missing_group(error: ResponseError) -> bool:
    """Return True if Redis says that the stream or its group does not exist (any more)."""
    return "NOGROUP" in str(error) or "UNBLOCKED" in str(error)


async def ensure_group(redis: Redis, stream: str, group: str, start: str) -> bool:
    """Makes the group of `stream`, and the stream, if they are not there; True if it was made.

    A new group gets the entries after the id `start`: `0` means all, `$` those to come.
    """
    try:
        await redis.xgroup_create(stream, group, id=start, mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" in str(error):
            return False
        raise
    return True


async def count_between(redis: Redis, stream: str, after: str, last: str = "+") -> int:
    """Count the entries of `stream` after the id `after`, up to and including `last`; reads them all."""
    count, start = 0, f"({after}"
    while rows := await redis.xrange(stream, start, last, count=_PAGE):
        count += len(rows)
        start = f"({rows[-1][0].decode()}"
    return count


def order_of(entry: str) -> tuple[int, int]:
    """Return the sort key of a stream id."""
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)


def id_before(entry: str) -> str:
    """The greatest stream id below `entry`: where a group has to stand to get `entry` next."""
    milliseconds, sequence = map(int, entry.split("-"))
    if sequence:
        return f"{milliseconds}-{sequence - 1}"
    return f"{milliseconds - 1}-{_LAST_SEQUENCE}" if milliseconds else "0-0"
