from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay.consumer import consume
from tests.support import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

STREAM = "relay:topic:support"


async def feed(redis: Redis, *ids: str) -> None:
    for event_id in ids:
        await redis.xadd(STREAM, {"id": event_id, "type": "x", "at": "1", "body": "{}"})


async def pending(redis: Redis, group: str = "g") -> int:
    count: int = (await redis.xpending(STREAM, group))["pending"]
    return count


async def take(url: str, count: int, group: str = "g", member: str = "m", **options: object) -> list[str]:
    """Return the first `count` events that a member gets."""
    taken: list[str] = []
    async with asyncio.timeout(10), consume(url, topic="support", group=group, member=member, **options) as events:  # type: ignore[arg-type]
        async for event in events:
            taken.append(event.id)
            if len(taken) == count:
                break
    return taken


async def test_each_group_gets_all_events_and_its_members_share_them(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b", "c")
    assert await take(redis_url, 3, "one") == ["a", "b", "c"]
    assert await take(redis_url, 2, "two") == ["a", "b"]
    assert await take(redis_url, 1, "two") == ["c"]


async def test_new_group_starts_at_its_start_option(redis: Redis, redis_url: str) -> None:
    await feed(redis, "old")
    async with consume(redis_url, topic="support", group="late", start="$") as events:
        await feed(redis, "new")
        assert (await anext(events)).id == "new"


async def test_next_event_acknowledges_the_previous(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")
    async with consume(redis_url, topic="support", group="g") as events:
        await anext(events)
        assert await pending(redis) == 2
        await anext(events)
        waiting = asyncio.create_task(anext(events))
        await eventually(lambda: _none_pending(redis))
        waiting.cancel()


async def _none_pending(redis: Redis) -> bool:
    return await pending(redis) == 0


async def test_event_is_redelivered_after_the_handler_raised(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")

    async def handle() -> None:
        async with consume(redis_url, topic="support", group="g", member="m") as events:
            async for _ in events:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await handle()
    assert await take(redis_url, 2) == ["a", "b"]


async def test_clean_exit_acknowledges_and_leaves_the_group(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a")
    await take(redis_url, 1)
    assert await pending(redis) == 0
    assert await redis.xinfo_consumers(STREAM, "g") == []


async def test_stale_events_of_a_dead_member_are_claimed(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b")
    await redis.xgroup_create(STREAM, "g", "0")
    await redis.xreadgroup("g", "dead", {STREAM: ">"})
    await asyncio.sleep(0.1)
    assert await take(redis_url, 2, claim_after=0.05) == ["a", "b"]


async def test_events_of_a_working_member_are_not_claimed(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a", "b", "c")
    async with consume(redis_url, topic="support", group="g", member="slow", claim_after=0.3) as slow:
        await anext(slow)
        for _ in range(3):
            await asyncio.sleep(0.15)
            rows = await redis.xautoclaim(STREAM, "g", "thief", min_idle_time=300, justid=True)
            await anext(slow) if slow._read else None
        assert b"c" not in rows


async def test_trimmed_entry_is_skipped(redis: Redis, redis_url: str) -> None:
    await feed(redis, "gone", "here")
    await redis.xgroup_create(STREAM, "g", "0")
    [[_, [[entry, _], *_]]] = await redis.xreadgroup("g", "m", {STREAM: ">"})
    await redis.xdel(STREAM, entry)
    assert await take(redis_url, 1) == ["here"]


async def test_destroyed_group_is_created_again(redis: Redis, redis_url: str) -> None:
    await feed(redis, "a")
    async with asyncio.timeout(10), consume(redis_url, topic="support", group="g") as events:
        assert (await anext(events)).id == "a"
        await redis.flushall()
        await feed(redis, "b")
        assert (await anext(events)).id == "b"


async def test_broken_connections_lose_no_event(redis: Redis, redis_url: str) -> None:
    await feed(redis, *map(str, range(300)))
    taken: list[str] = []
    async with asyncio.timeout(20), consume(redis_url, topic="support", group="g", member="m") as events:
        async for event in events:
            taken.append(event.id)
            if len(taken) % 50 == 0:
                await redis.client_kill_filter(_type="normal", skipme=True)
            if len(set(taken)) == 300:
                break
    assert set(taken) == {str(number) for number in range(300)}


def test_group_names_of_the_relay_are_refused() -> None:
    with pytest.raises(ValueError, match='choose a name without "push:"'):
        consume("redis://localhost", topic="support", group="push:bot")
