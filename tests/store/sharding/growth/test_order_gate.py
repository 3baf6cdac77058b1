"""The gate of an ordered lane: closed while an event of a chat that moves is on its way on an old shard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.sharding.placement import ShardKey, shard_of
from relay.store.keys import CONSUMER, push_group
from relay.store.lanes.lane import Lane
from relay.store.sharding.growth.order_gate import OrderedLane, open_lanes
from relay.store.sharding.growth.state import decide, note_time, opened_lanes, read_growth
from relay.store.sharding.growth.watch import current_placement

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards

BOT = OrderedLane("bot", "messages", blocks=False)
BLOCKING = OrderedLane("bot", "messages", blocks=True)
GROUP = push_group("bot")


def chat_of(shard: int, *, moves: bool) -> str:
    """Return a chat of an old shard that moves to a new one, or stays."""
    chats = (f"chat-{number}" for number in range(1000))
    keys = (ShardKey("", chat) for chat in chats)
    return next(str(key) for key in keys if shard_of(key, 2) == shard and (shard_of(key, 4) != shard) is moves)


@pytest.fixture
async def switched(growing: Shards) -> Shards:
    """Four shards of which two were in use; the old ones have a lane, and events are placed on all."""
    for shard in growing.all[:2]:
        await Lane(shard, "bot", "messages").ensure()
    return growing


async def switch(shards: Shards) -> None:
    growth = await read_growth(shards.home)
    assert growth is not None
    await decide(shards.home, growth, 2000)
    await current_placement(shards.home, 60_000, 3000)


async def route(shard: Redis, chat: str) -> str:
    """Put an event into the topic; return its id."""
    entry: bytes = await shard.xadd(shard.key.topic("messages"), {"id": chat, "chat": chat, "body": "{}"})
    return entry.decode()


async def read_all(shard: Redis) -> None:
    await shard.xreadgroup(GROUP, CONSUMER, {shard.key.topic("messages"): ">"})


async def settle(shard: Redis, *entries: str) -> None:
    await shard.xack(shard.key.topic("messages"), GROUP, *entries)


async def closed(shards: Shards, lane: OrderedLane = BOT) -> str:
    """Return why the lane is closed; empty if it is open."""
    return (await open_lanes(shards.home, [lane], 4000)).get(lane.name, "")


async def test_all_lanes_are_open_without_a_growth(shards: Shards) -> None:
    assert await closed(shards) == ""


async def test_lane_is_closed_until_events_are_placed_on_the_new_shards(switched: Shards) -> None:
    assert "not changed yet" in await closed(switched)
    await switch(switched)
    assert await closed(switched) == ""
    assert await opened_lanes(switched.home) == {"bot"}


async def test_each_stage_of_an_event_that_moves_closes_the_lane(switched: Shards) -> None:
    old, chat = switched.all[1], chat_of(1, moves=True)
    accepted = await old.xadd(old.key.inbox, {"id": "x"})
    await switch(switched)
    assert await closed(switched) == "accepted events are not routed yet on shard 1"
    entry = await route(old, chat)
    await old.xdel(old.key.inbox, accepted)
    assert await closed(switched) == "it has not read its topic up to the change on shard 1"
    await read_all(old)
    assert await closed(switched) == "1 deliveries of chats that move are not settled on shard 1"
    await settle(old, entry)
    assert await closed(switched) == ""


async def test_open_lane_stays_open(switched: Shards) -> None:
    await switch(switched)
    assert await closed(switched) == ""
    await route(switched.all[1], chat_of(1, moves=True))  # an operator's replay, for example
    assert await closed(switched) == ""


async def test_events_of_chats_that_stay_close_no_lane(switched: Shards) -> None:
    old = switched.all[0]
    await route(old, chat_of(0, moves=False))
    await old.xadd(old.key.topic("messages"), {"id": "without a chat", "body": "{}"})
    await read_all(old)
    await switch(switched)
    assert await closed(switched) == ""


async def test_events_after_the_fence_close_no_lane(switched: Shards) -> None:
    old = switched.all[0]
    await switch(switched)
    other = OrderedLane("other", "messages", blocks=False)
    await Lane(old, "other", "messages").ensure()
    await Lane(switched.all[1], "other", "messages").ensure()
    first = await route(old, chat_of(0, moves=True))
    await read_all(old)
    assert "not settled" in await closed(switched)  # its end of the topic is noted now
    await old.xadd(old.key.inbox, {"id": "later"})
    await route(old, chat_of(0, moves=False))
    assert "not read" in await closed(switched, other)
    await settle(old, first)
    assert await closed(switched) == ""


async def test_dead_letter_closes_a_lane_that_blocks_on_it_if_its_chat_moves(switched: Shards) -> None:
    old = switched.all[0]
    await switch(switched)
    blocked = old.key.lane("bot", "blocked")
    await old.hset(blocked, chat_of(0, moves=False), "stream|1-1")  # type: ignore[misc]
    await old.hset(blocked, moving := chat_of(0, moves=True), "stream|2-1")  # type: ignore[misc]
    assert await closed(switched, BLOCKING) == "a dead letter blocks a chat that moves on shard 0"
    await old.hdel(blocked, moving)  # type: ignore[misc]
    assert await closed(switched, BLOCKING) == ""


async def test_held_topic_closes_its_lanes(switched: Shards) -> None:
    old = switched.all[0]
    await old.xadd(old.key.held("messages"), {"id": "x"})
    await switch(switched)
    assert await closed(switched) == "its topic is held until its stream is repaired on shard 0"


async def test_topic_that_was_deleted_closes_no_lane(switched: Shards) -> None:
    old = switched.all[0]
    await route(old, chat_of(0, moves=True))
    await switch(switched)
    assert "not read" in await closed(switched)
    await old.delete(old.key.topic("messages"))
    assert await closed(switched) == ""


async def test_growth_that_is_done_has_no_gates(switched: Shards) -> None:
    await route(switched.home, chat_of(0, moves=True))
    await switch(switched)
    assert "not read" in await closed(switched)
    await note_time(switched.home, "done", 5000)
    assert await closed(switched) == ""
