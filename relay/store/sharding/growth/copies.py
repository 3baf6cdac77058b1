"""Copies for the chats that move, of what belongs to them beside their events: before the switch, and once more after.

    chat -> line index     each moving chat with its last proof; the newest proof wins
    backfilled messages    to every new shard, since a mark does not name its chat; what came of it wins
    pull groups            of each topic, from its beginning, so that they miss nothing of a new shard

The second run takes what was learned on the old shards in between, up to the fences. Each run reads all, in pages, and
can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.core.sharding.placement import shard_of_chat
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script
from relay.store.driver.streams import ensure_group, is_no_such_key, pages
from relay.store.sharding.chat_index import LIFETIME, chat_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.store.driver.client import Redis
    from relay.store.sharding.growth.state import Growth

_SCANNED = 500
_COPIED = 250  # entries in one script

_copy_chats, _copy_marks = Script(__package__, "copy_chats"), Script(__package__, "copy_marks")


async def copy_chats(home: Redis, growth: Growth, copied: Callable[[int], None]) -> int:
    """Copy the lines of the chats that move to their new shards; return the number that was not there.

    `copied` is called with the number that each page looked at.
    """
    new = 0
    for number, shard in enumerate(home.shards[: growth.former]):
        life_ms = int(await ask(shard.pttl(shard.key.chats)))
        async for page in _fields(shard, shard.key.chats):
            moving: dict[int, dict[bytes, bytes]] = {}
            for chat, line in page.items():
                to = shard_of_chat(chat_in(chat.decode()), growth.target)
                if to != number:
                    moving.setdefault(to, {})[chat] = line
            for to, lines in moving.items():
                new += await _copy_lines(shard, home.shards[to], lines, max(life_ms, 0) or round(LIFETIME * 1000))
            copied(len(page))
    return new


async def _copy_lines(shard: Redis, to: Redis, lines: dict[bytes, bytes], life_ms: int) -> int:
    new = 0
    for page in pages(list(lines), _COPIED):
        proofs = await shard.zmscore(shard.key.chats_proved, [chat.decode() for chat in page])
        rows = [
            part
            for chat, proved in zip(page, proofs, strict=True)
            if proved is not None
            for part in (chat, lines[chat], str(int(proved)))
        ]
        redis_keys = [to.key.chats, to.key.chats_proved, to.key.chats_last_writer]
        new += await _copy_chats(to, redis_keys, [life_ms, *rows])
    return new


async def copy_backfilled(home: Redis, growth: Growth) -> int:
    """Copy the marks of backfilled messages to every new shard; return the number that was written."""
    written = 0
    for shard in home.shards[: growth.former]:
        async for page in _fields(shard, shard.key.backfilled):
            flat = [part for mark in page.items() for part in mark]
            for to in home.shards[growth.former : growth.target]:
                written += await _copy_marks(to, [to.key.backfilled], flat)
    return written


async def create_pull_groups(home: Redis, growth: Growth) -> int:
    """Create the pull groups of each topic on the new shards, from the beginning; return the number of new ones."""
    new = 0
    for shard in home.shards[: growth.former]:
        for name in sorted(await ask(shard.smembers(shard.key.topics))):
            topic = name.decode()
            for group in await _pull_groups(shard, topic):
                for to in home.shards[growth.former : growth.target]:
                    new += await ensure_group(to, to.key.topic(topic), group, "0")
    return new


async def _pull_groups(shard: Redis, topic: str) -> list[str]:
    try:
        groups = await shard.xinfo_groups(shard.key.topic(topic))
    except ResponseError as error:
        if is_no_such_key(error) or "WRONGTYPE" in str(error):
            return []
        raise
    names = [group["name"].decode() for group in groups]
    return [name for name in names if not name.startswith(keys.PUSH_GROUP_PREFIX)]


async def _fields(shard: Redis, key: str) -> AsyncIterator[dict[bytes, bytes]]:
    """Yield the fields of a hash, in pages; some may come twice."""
    cursor = 0
    while True:
        cursor, page = await ask(shard.hscan(key, cursor, count=_SCANNED))
        rows = list(page.items())
        for part in pages(rows, _SCANNED):  # a small hash comes whole, whatever the count
            yield dict(part)
        if not cursor:
            return
