"""Held events of a topic: its stream was overwritten by another client, and nothing can be appended to it.

The router appends them to `<stream>:held` instead, in the step that takes them from the inbox, so that the other topics
continue. It does so until all of them are released, which the sweeper does once the key is repaired: the topic gets its
events late, and in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import pages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.store.driver.client import Redis

_PAGE = 1000  # topics
_STEP = 100  # events a script, which blocks Redis
_STEP_BYTES = 512 * 1024

_find, _release = Script(__package__, "find_held"), Script(__package__, "release_held")


async def topics_with_held_events(redis: Redis, topics: Iterable[str]) -> list[str]:
    """Return those of `topics` that have held events; each sweep asks: a script takes 1 ms for 1,000, EXISTS took 3."""
    found = []
    for page in pages(list(topics), _PAGE):
        numbers: list[int] = await _find(redis, [redis.key.held(name) for name in page], [])
        found += [page[number - 1] for number in numbers]
    return found


async def release_held_events(redis: Redis, topic: str) -> int:
    """Move the held events of `topic` into it; return their number. The groups of its lanes must exist.

    Raises:
        ResponseError: WRONGTYPE, its key is not repaired yet.
    """
    released = 0
    while moved := int(
        await _release(redis, [redis.key.topic(topic), redis.key.held(topic), redis.key.counts], [_STEP, _STEP_BYTES])
    ):
        released += moved
    return released


async def trim_held_events(redis: Redis, topic: str, most_bytes: int) -> int:
    """Delete the oldest held events of `topic` beyond a size; return their number."""
    held = redis.key.held(topic)
    size = int(await ask(redis.memory_usage(held)) or 0)
    if size <= most_bytes:
        return 0
    kept = int(await redis.xlen(held)) * most_bytes // size
    return int(await ask(redis.xtrim(held, maxlen=kept, approximate=False)))
