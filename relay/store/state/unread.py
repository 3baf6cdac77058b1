"""The first entry after a position of a stream: how long has the oldest unread event waited?

Many groups of a stream are at the same position, and most have read everything: Redis is asked once for each position
that is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from relay.store.driver.streams import order_of, pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from relay.store.driver.client import Redis
    from relay.store.topics.topics import GroupReading, TopicReading

_PAGE = 100  # entries with their bodies


NOT_READ_AFTER_MS = 30 * 60 * 1000
"""Time without a request of any member after which a pull group with events that wait is one that nothing reads."""


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


async def oldest_unread(
    redis: Redis, groups: Sequence[tuple[TopicReading, GroupReading]]
) -> dict[tuple[str, str], int]:
    """Return when the oldest event was routed (Unix ms) that each group has not read, by its topic and its name.

    Groups that have read everything are left out. Redis is asked only where the ends of the stream do not tell.
    """
    found, asked = {}, {}
    for topic, group in groups:
        entry = known_first_after(group.position, topic.first or "", topic.last)
        if entry is None:
            asked[topic.name, group.name] = Place(redis.key.topic(topic.name), group.position)
        elif entry:
            found[topic.name, group.name] = order_of(entry)[0]
    entries = await first_after(redis, asked.values())
    return found | {name: order_of(entries[place])[0] for name, place in asked.items() if place in entries}


def is_not_read(now_ms: int, unread_since_ms: int | None, pending: int, idle_ms: int | None) -> bool:
    """Return True if events wait in a pull group, unread or not acknowledged, and no member has asked for a while.

    `idle_ms` is the time since one has; None if there is no member.
    """
    has_old = unread_since_ms is not None and now_ms - unread_since_ms >= NOT_READ_AFTER_MS
    is_silent = idle_ms is None or idle_ms >= NOT_READ_AFTER_MS
    return is_silent and (has_old or pending > 0)
