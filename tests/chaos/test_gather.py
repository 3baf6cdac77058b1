from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import open_shards
from tests.chaos.gather import Owed, owed, owed_to

if TYPE_CHECKING:
    from relay.store.driver.client import Redis


async def test_unacknowledged_entries_are_counted_not_estimated(redis: Redis) -> None:
    assert await owed(redis, "stream", "group") == Owed(0)
    ids = [(await redis.xadd("stream", {"n": number})).decode() for number in range(10)]
    assert await owed(redis, "stream", "group") == Owed(10, "0-0")
    await redis.xgroup_create("stream", "group", "0")
    await redis.xreadgroup("group", "reader", {"stream": ">"}, count=7)
    await redis.xack("stream", "group", *ids[:4])
    assert await owed(redis, "stream", "group") == Owed(3 + 3, ids[6])
    await redis.xgroup_setid("stream", "group", ids[9], entries_read=2)  # as Redis 7.0 restores it: the lag is 8
    assert await owed(redis, "stream", "group") == Owed(3, ids[9])


async def test_unsettled_work_is_the_sum_of_all_shards(redis_url: str) -> None:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=3) as shards:
        for number, shard in enumerate(shards.all):
            for _ in range(number):
                await shard.xadd(shard.key.topic("support"), {"id": "x"})
        assert await owed_to(shards.home, "support", "group") == Owed(3, " 0-0 0-0")
