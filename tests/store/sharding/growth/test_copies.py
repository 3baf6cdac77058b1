"""What belongs to a chat that moves is copied to its new shard; what was learned meanwhile is copied too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.event import Dialect
from relay.core.sharding.placement import ShardKey
from relay.store import wakeups
from relay.store.inbox.chat_lines import ChatLines, Sighting
from relay.store.sharding.growth.copies import copy_backfilled, copy_chats, create_pull_groups
from relay.store.sharding.growth.state import note_time, read_growth
from relay.store.sharding.shards import Shards
from tests.building import LINE, OTHER_LINE
from tests.support import Clock, hash_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.sharding.growth.state import Growth

CHATS = [f"chat-{number}" for number in range(40)]


async def growth_of(shards: Shards) -> Growth:
    growth = await read_growth(shards.home)
    assert growth is not None
    return growth


async def learn(shard: Redis, chats: list[str], line: str, clock: Clock) -> None:
    """Let the router of a shard learn the line of chats."""
    token = await shard.get(shard.key.lease(wakeups.route(shard.key).job_id))
    assert token is None
    await ChatLines(shard, clock).resolve([Sighting(Dialect.V3, chat, line) for chat in chats], "token")


def by_shard(shards: Shards, count: int) -> dict[Redis, list[str]]:
    placed = Shards(shards.all[:count])
    found: dict[Redis, list[str]] = {shard: [] for shard in shards.all}
    for chat in CHATS:
        found[placed.of(ShardKey("", chat))].append(chat)
    return found


async def test_lines_of_moving_chats_are_copied_and_the_newest_proof_wins(growing: Shards) -> None:
    clock, growth = Clock(1_000_000.0), await growth_of(growing)
    for shard, chats in by_shard(growing, 2).items():
        if chats:
            await learn(shard, chats, LINE, clock)
    looked_at: list[int] = []
    moving = {shard: chats for shard, chats in by_shard(growing, 4).items() if shard in growing.all[2:]}
    newer = moving[growing.all[2]][0]
    clock.now += 10
    await learn(growing.all[2], [newer], OTHER_LINE, clock)
    assert await copy_chats(growing.home, growth, looked_at.append) == sum(map(len, moving.values())) - 1
    assert sum(looked_at) == len(CHATS)
    for shard, chats in moving.items():
        expected = {f"v3:{chat}": OTHER_LINE if chat == newer else LINE for chat in chats}
        assert await hash_of(shard, shard.key.chats) == expected
        assert await shard.pttl(shard.key.chats) > 0
    assert await copy_chats(growing.home, growth, looked_at.append) == 0


async def test_router_of_a_new_shard_asks_the_former_one_until_all_is_copied(growing: Shards) -> None:
    clock, new = Clock(1_000_000.0), growing.all[3]
    [chat, *_] = by_shard(growing, 4)[new]
    former = next(shard for shard, chats in by_shard(growing, 2).items() if chat in chats)
    await learn(former, [chat], LINE, clock)
    sighting = Sighting(Dialect.V3, chat, None)

    async def line() -> str | None:
        chats = ChatLines(new, clock, home=growing.home)
        await chats.begin()
        [found] = await chats.resolve([sighting], "token")
        return found

    assert await line() == LINE
    await note_time(growing.home, "done", 1)
    assert await line() is None


async def test_outcome_of_a_backfilled_message_wins_over_its_mark(growing: Shards) -> None:
    growth, old, new = await growth_of(growing), growing.all[1], growing.all[2]
    marks = {"a": "5:1", "b": "5:@relay:topic:x", "c": "5:live"}
    await old.hset(old.key.backfilled, mapping=marks)  # type: ignore[misc]
    assert await copy_backfilled(growing.home, growth) == 6
    assert await hash_of(new, new.key.backfilled) == marks
    await new.hset(new.key.backfilled, "b", "5:live")  # type: ignore[misc]
    await old.hset(old.key.backfilled, "a", "5:@relay:topic:x")  # type: ignore[misc]
    assert await copy_backfilled(growing.home, growth) == 2
    assert await hash_of(new, new.key.backfilled) == marks | {"a": "5:@relay:topic:x", "b": "5:live"}


async def test_pull_groups_miss_nothing_of_a_new_shard(growing: Shards) -> None:
    growth, old, new = await growth_of(growing), growing.all[1], growing.all[2]
    await old.sadd(old.key.topics, "messages", "without a stream")  # type: ignore[misc]
    await old.xgroup_create(old.key.topic("messages"), "billing", id="$", mkstream=True)
    await old.xgroup_create(old.key.topic("messages"), "push:bot", id="$")
    assert await create_pull_groups(growing.home, growth) == 2
    await new.xadd(new.key.topic("messages"), {"id": "first"})
    [group] = await new.xinfo_groups(new.key.topic("messages"))
    assert (group["name"], group["lag"]) == (b"billing", 1)
    assert await create_pull_groups(growing.home, growth) == 0
