"""Seek of a pull group to another position of its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreError
from relay.store.topics.pull.group_seek import PendingConsumer, groups_of, plan_seek, seek
from relay.store.topics.topics import topic_states
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
BEFORE_2 = "1-18446744073709551615"
"""The id before the oldest pending event."""


@pytest.fixture(autouse=True)
async def _group(redis: Redis) -> None:
    """Ten events; the group has read six, of which one member has 2 pending and another 5 and 6."""
    await redis.xgroup_create(STREAM, "billing", id="0", mkstream=True)
    for n in range(1, 11):
        await redis.xadd(STREAM, {"id": f"e{n}"}, id=f"{n}-0")
    await redis.xreadgroup("billing", "a", {STREAM: ">"}, count=4)
    await redis.xreadgroup("billing", "b", {STREAM: ">"}, count=2)
    await redis.xack(STREAM, "billing", "1-0", "3-0", "4-0")


async def read(redis: Redis) -> list[str]:
    answer = await redis.xreadgroup("billing", "c", {STREAM: ">"})
    return [fields[b"id"].decode() for _, fields in answer[0][1]] if answer else []


async def behind(redis: Redis) -> int:
    ((group,),) = [state.groups for state in await topic_states(redis, ["support"])]
    ((row,),) = [[row["lag"] for row in await redis.xinfo_groups(STREAM)]]
    assert row == group.lag  # Redis knows it
    return group.lag


async def test_seek_back_redelivers_the_following_events(redis: Redis) -> None:
    move = await plan_seek(redis, "support", "billing", "4-0")
    assert (move.current, move.events, move.next, move.is_back, move.is_noop) == ("6-0", 2, "5-0", True, False)
    assert move.consumers == (PendingConsumer("a", 1, 0), PendingConsumer("b", 0, 2))
    assert await seek(redis, move) == 2
    assert await behind(redis) == 6
    assert [row["message_id"] for row in await redis.xpending_range(STREAM, "billing", "-", "+", 9)] == [b"2-0"]
    assert await read(redis) == [f"e{n}" for n in range(5, 11)]


async def test_seek_forwards_skips_events_and_keeps_pending_ones(redis: Redis) -> None:
    move = await plan_seek(redis, "support", "billing", "9-5")
    assert (move.events, move.next, move.is_back) == (3, "10-0", False)
    assert [consumer.beyond for consumer in move.consumers] == [0, 0]
    assert await seek(redis, move) == 0
    assert await behind(redis) == 1
    assert (await redis.xpending(STREAM, "billing"))["pending"] == 3
    assert await read(redis) == ["e10"]


@pytest.mark.parametrize(("after", "place"), [("0-0", "0-0"), ("5-0", BEFORE_2), ("9-5", BEFORE_2)])
async def test_group_lost_after_a_seek_resumes_there(redis: Redis, after: str, place: str) -> None:
    await redis.hset(KEYS.places("support"), "billing", "6-0")  # type: ignore[misc]  # typed for blocking clients too
    await seek(redis, await plan_seek(redis, "support", "billing", after))
    assert await redis.hgetall(KEYS.places("support")) == {b"billing": place.encode()}  # type: ignore[misc]


@pytest.mark.parametrize("after", [None, "10-0", "99-0"])
async def test_end_is_the_last_existing_entry(redis: Redis, after: str | None) -> None:
    move = await plan_seek(redis, "support", "billing", after)
    assert (move.after, move.next, move.events) == ("10-0", None, 4)
    await seek(redis, move)
    assert await behind(redis) == 0
    await redis.xadd(STREAM, {"id": "new"})
    assert await read(redis) == ["new"]


async def test_beginning_is_the_oldest_kept_entry(redis: Redis) -> None:
    await redis.xtrim(STREAM, minid="4-0", approximate=False)
    move = await plan_seek(redis, "support", "billing", "0-0")
    assert (move.events, move.next, move.entries_read) == (3, "4-0", 3)
    await seek(redis, move)
    assert await behind(redis) == 7
    assert (await read(redis))[0] == "e4"


async def test_seek_without_entries_in_between_is_a_noop(redis: Redis) -> None:
    assert (await plan_seek(redis, "support", "billing", "6-0")).is_noop
    assert (await plan_seek(redis, "support", "billing", "6-9")).is_noop
    assert not (await plan_seek(redis, "support", "billing", "5-9")).is_noop


async def test_thousands_of_pending_events_are_redelivered(redis: Redis) -> None:
    async with redis.pipeline() as pipe:
        for n in range(2500):
            pipe.xadd(STREAM, {"id": f"more{n}"})
        await pipe.execute()
    await redis.xreadgroup("billing", "a", {STREAM: ">"})
    move = await plan_seek(redis, "support", "billing", "0-0")
    assert await seek(redis, move) == 2507
    assert len(await read(redis)) == 2510


async def test_missing_group_is_an_error(redis: Redis) -> None:
    assert await groups_of(redis, "support") == ["billing"]
    assert await groups_of(redis, "nothing") == []
    with pytest.raises(StoreError, match='no group "other"'):
        await plan_seek(redis, "support", "other", None)
