"""Marks of the lanes that are shadows, so that they are known as such when the rules no longer have them.

A worker marks the lane of a shadow when it begins with it. Retention (`workers.maintenance.shadows`) drops a marked
lane once the rules have been without it for a while: a shadow leaves nothing behind that alarms or needs a command.

Each shard has a lane, with a mark of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

_mark = Script(__package__, "mark_shadow")


class ShadowMark(NamedTuple):
    """The mark of a lane that is a shadow."""

    original: str
    """The subscription that it shadows, or did."""
    missing_ms: int | None = None
    """Since when the rules are without it, Unix milliseconds; None if they have it."""


async def mark_shadow(redis: Redis, subscription: str, mark: ShadowMark) -> None:
    """Mark the lane of a subscription."""
    await _mark(redis, [redis.key.shadows], [subscription, to_json(mark)])


async def unmark_shadow(redis: Redis, subscription: str) -> None:
    """Remove the mark of a lane: it is dropped, or no shadow any more."""
    await ask(redis.hdel(redis.key.shadows, subscription))


async def shadow_marks(redis: Redis) -> dict[str, ShadowMark]:
    """Return the marks of a shard by subscription; a damaged one has no original."""
    rows = await ask(redis.hgetall(redis.key.shadows))
    return {name.decode(): _decode(value) for name, value in rows.items()}


async def is_marked(redis: Redis, subscription: str) -> bool:
    """Return True if the lane of a subscription on a shard is marked."""
    return bool(await ask(redis.hexists(redis.key.shadows, subscription)))


async def shadows_of(redis: Redis, config: RelayConfig | None, *, is_part: bool = False) -> dict[str, str]:
    """Return every shadow with its original: those of the rules, and those that they had until a moment ago.

    With the client of the first shard, those of all; `is_part` reads it alone.
    """
    known = {} if config is None else {each.name: each.shadow_of for each in config.subscriptions}
    parts = [await shadow_marks(shard) for shard in ((redis,) if is_part else redis.shards)]
    marked = {name: mark.original for part in reversed(parts) for name, mark in part.items()}
    return {name: original for name, original in (marked | known).items() if original is not None}


def _decode(value: bytes) -> ShadowMark:
    with suppress(TypeError, ValueError):
        return ShadowMark(*from_json(value))
    return ShadowMark("")
