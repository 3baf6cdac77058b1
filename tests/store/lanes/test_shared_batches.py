"""Lanes of several shards of a plain Redis read and settle in the same batches, each under the lease of its shard."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from relay.core.delivery.outcome import Attempt, Delivered, Outcome, RetryAt
from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.isolation import WrongType
from relay.store.keys import Keyspace
from relay.store.lanes.delivery import Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.many.read import LaneReads, ReadBatches
from relay.store.lanes.settler import Settlement, SettlementBatches, Settler
from relay.store.sharding.shards import by_server, open_shards
from tests.support import hash_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.delivery.outcome import Verdict
    from relay.store.driver.client import Redis
    from relay.store.lanes.delivery import Delivery

FAILED = Attempt(Outcome.FAILED, at_ms=1000, took_ms=50, status=500, detail="no")


class Part(NamedTuple):
    """A lane on one shard, with what its worker there has."""

    redis: Redis
    lane: Lane
    lease: str
    reads: LaneReads
    settler: Settler

    async def read(self) -> list[Delivery]:
        return await self.reads.read_new(self.lane, 10, 10)

    async def settle(self, delivery: Delivery, verdict: Verdict) -> None:
        await self.settler.settle(Settlement(self.lane, delivery, FAILED, Tries(1, 900, Outcome.FAILED), verdict, 1050))

    async def counted(self, name: str) -> int:
        return int((await hash_of(self.redis, self.lane.key)).get(name, 0))


@pytest.fixture
async def parts(redis: Redis, redis_url: str) -> AsyncIterator[list[Part]]:
    """Three shards with an event each for the same lane, whose scripts are loaded."""
    del redis
    async with AsyncExitStack() as stack:
        shards = await stack.enter_async_context(open_shards(redis_url, WORKER_TIMEOUT, count=3))
        reads = await stack.enter_async_context(ReadBatches(shards.home))
        settlements = await stack.enter_async_context(SettlementBatches(shards.home))
        parts = []
        for shard in shards.all:
            lane, job = Lane(shard, "bot", "support"), wakeups.deliver(shard.key, 0).job_id
            await lane.ensure()
            await shard.set(shard.key.lease(job), "me")
            each = LaneReads(shard, job, "me", reads), Settler(shard, job, "me", settlements)
            parts.append(Part(shard, lane, shard.key.lease(job), *each))
        await parts[0].read()
        await parts[0].settle(await one_more(parts[0]), Delivered())
        for part in parts:
            fields = {"id": f"of {part.redis.key.name}", "type": "message.received", "at": "5", "body": b"x"}
            await part.redis.xadd(part.lane.topic_stream, fields)  # type: ignore[arg-type]
        yield parts


async def one_more(part: Part) -> Delivery:
    await part.redis.xadd(part.lane.topic_stream, {"id": "e", "type": "message.received", "at": "5", "body": b"x"})
    [delivery] = await part.lane.read_new(1, "me")
    return delivery


async def scripts_run(redis: Redis) -> int:
    return int((await redis.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def test_shards_read_and_settle_together(parts: list[Part]) -> None:
    redis, before = parts[0].redis, await scripts_run(parts[0].redis)
    found = await asyncio.gather(*(part.read() for part in parts for _ in range(2)))
    read = [delivery for deliveries in found for delivery in deliveries]
    assert [each.record.id for each in read] == [f"of {part.redis.key.name}" for part in parts]
    assert await scripts_run(redis) == before + 1
    await asyncio.gather(*(part.settle(each, Delivered()) for part, each in zip(parts, read, strict=True)))
    assert await scripts_run(redis) == before + 2
    assert [await part.counted("delivered") for part in parts] == [2, 1, 1]
    assert not [ref for part in parts for ref in await part.lane.orphans()]


@pytest.mark.parametrize("lease", ["that of another worker", "no string"])
async def test_lost_lease_of_a_shard_is_its_own(parts: list[Part], lease: str) -> None:
    mine, other, last = parts
    deliveries = [(await part.read())[0] for part in parts]
    await other.redis.delete(other.lease)
    if lease == "no string":
        await other.redis.zadd(other.lease, {"x": 1})
    else:
        await other.redis.set(other.lease, "other")
    first, lost, third = await asyncio.gather(mine.read(), other.read(), last.read(), return_exceptions=True)
    assert (first, third) == ([], [])
    assert isinstance(lost, LeaseLost)
    both = zip(parts, deliveries, strict=True)
    await asyncio.gather(*(part.settle(delivery, RetryAt(due_ms=77)) for part, delivery in both))
    assert [await part.lane.retrying() for part in parts] == [1, 0, 1]


async def test_damaged_lane_of_a_shard_refuses_its_own_verdict(parts: list[Part]) -> None:
    deliveries = [(await part.read())[0] for part in parts]
    await parts[1].redis.set(parts[1].lane.key, "not ours")
    both = zip(parts, deliveries, strict=True)
    results = await asyncio.gather(
        *(part.settle(delivery, Delivered()) for part, delivery in both), return_exceptions=True
    )
    assert results[::2] == [None, None]
    assert isinstance(results[1], WrongType)
    assert [len(await part.lane.orphans()) for part in parts] == [0, 1, 0]


async def test_shards_of_a_cluster_are_each_by_themselves(parts: list[Part]) -> None:
    shards = [part.redis for part in parts]
    assert by_server(shards) == [dict(enumerate(shards))]
    for number, shard in enumerate(shards):
        shard.key = Keyspace.tagged(f"relay/{number}")
    assert by_server(shards) == [{0: shards[0]}, {1: shards[1]}, {2: shards[2]}]
