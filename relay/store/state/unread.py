"""The first entry after a position of a stream: how long has the oldest unread event waited?

Many groups of a stream are at the same position, and most have read everything: Redis is asked once for each position
that is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from relay.store.driver.streams import order_of, pages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis

_PAGE = 100  # entries with their bodies


class Place(NamedTuple):
    """A position in a stream: the last entry that was read."""

    stream: str
    position: str


async def first_after(redis: Redis, places: Iterable[Place]) -> dict[Place, str]:
    """Return the first entry after each place; those that have none are left out."""
    found: dict[Place, str] = {}
    for page in pages(list(dict.fromkeys(places)), _PAGE):
        async with redis.pipeline(transaction=False) as pipe:
            for stream, position in page:
                pipe.xrange(stream, f"({position}", count=1)
            replies = await pipe.execute(raise_on_error=False)
        for place, rows in zip(page, replies, strict=True):
            if rows and not isinstance(rows, ResponseError):
                found[place] = rows[0][0].decode()
    return found


def known_first_after(position: str, first: str, end: str) -> str | None:
    """Return the first entry after `position` if the first and last ids of the stream tell; empty if there is none."""
    if not first or order_of(position) >= order_of(end):
        return ""
    return first if order_of(position) < order_of(first) else None
