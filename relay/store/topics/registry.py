"""The names of topics: those that relay.toml has or had, and those that ever had an event.

A reader of Redis that misspells a topic makes a stream of that name with its group (`XGROUP CREATE ... MKSTREAM`), to
which nothing is ever routed: a ghost stream. Only a look at all keys finds it (SCAN), which a user with the rights of
`relay acl` may not do.
"""

from __future__ import annotations

import time
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from relay.core.errors import StoreError
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from relay.store.driver.client import Redis


_PAGE = 1000
_SCANNED = 2000  # keys that one SCAN looks at, which blocks Redis for less than 1 ms

_register = Script(__package__, "register_topics")


class UnknownTopic(StoreError):
    """The relay has no topic of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        nearest = nearest_topic(name, names)
        hint = f'; did you mean "{nearest}"?' if nearest else ""
        super().__init__(f'no topic "{name}" (known: {", ".join(names)}){hint}')


class GhostStreams(NamedTuple):
    """Streams with keys of topics that the relay does not have."""

    names: tuple[str, ...]
    is_complete: bool
    """False if there was not enough time to look at all keys."""


def nearest_topic(name: str, known: Iterable[str]) -> str | None:
    """Return the name in `known` that is most like `name`; None if none is."""
    return next(iter(get_close_matches(name, list(known), n=1)), None)


async def ghost_streams(redis: Redis, known: Container[str], seconds: float) -> GhostStreams:
    """Return the streams whose keys, on any shard, are those of topics that are not in `known`, by name.

    Raises:
        NoPermissionError: the user may not look at all keys.
    """
    parts = [await _ghosts_on(shard, known, seconds / len(redis.shards)) for shard in redis.shards]
    names = sorted({name for part in parts for name in part.names})
    return GhostStreams(tuple(names), all(part.is_complete for part in parts))


async def _ghosts_on(redis: Redis, known: Container[str], seconds: float) -> GhostStreams:
    prefix, until = redis.key.topic_prefix, time.monotonic() + seconds
    found: set[str] = set()
    cursor, is_begun = 0, False
    while (cursor or not is_begun) and time.monotonic() < until:
        cursor, names = await redis.scan(cursor, f"{_escaped(prefix)}*", _SCANNED, _type="stream")
        found |= {name.decode(errors="replace").removeprefix(prefix) for name in names}
        is_begun = True
    return GhostStreams(tuple(name for name in found if ":" not in name and name not in known), not cursor)


def _escaped(text: str) -> str:
    """Return `text` as a pattern of Redis that matches only itself."""
    return "".join(f"\\{each}" if each in "*?[]\\^-" else each for each in text)


async def register_topics(redis: Redis, names: Iterable[str]) -> None:
    """Record the topics of relay.toml, so that readers of the streams can tell which there are."""
    for page in pages(list(names), _PAGE):
        await _register(redis, [redis.key.topics], page)
