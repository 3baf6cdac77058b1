from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store import wakeups
from relay.store.driver.fenced_reads import Claim, LeaseLost, ReadLimits, read_due, read_new
from relay.store.lanes.lane import Lane
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = "relay:topic:support"


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    """A lane with a new and a due delivery, whose partition is leased to "holder"."""
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    await redis.xadd(STREAM, {"id": "e1", "body": "b"})
    await redis.zadd(KEYS.lane("bot", "retries"), {f"{STREAM}|1-1": 1, f"{STREAM}|1-2": 99})
    await redis.set(KEYS.lease(wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id), "holder")
    return lane


@pytest.mark.parametrize("token", ["other", ""])
async def test_worker_without_the_lease_reads_nothing(redis: Redis, lane: Lane, token: str) -> None:
    with pytest.raises(LeaseLost):
        await lane.read_new(10, token)
    with pytest.raises(LeaseLost):
        await lane.read_due(50, 10, token)
    assert (await redis.xpending(STREAM, lane.group))["pending"] == 0
    assert await redis.zcard(KEYS.lane("bot", "retries")) == 2
    assert [delivery.record.id for delivery in await lane.read_new(10, "holder")] == ["e1"]
    assert [str(delivery.ref) for delivery in await lane.read_due(50, 10, "holder")] == [f"{STREAM}|1-1"]


async def test_free_lease_does_not_block_reads(redis: Redis, lane: Lane) -> None:
    await redis.delete(KEYS.lease(wakeups.deliver(KEYS, wakeups.partition_of("bot")).job_id))
    assert len(await lane.read_new(10, "former holder")) == 1


async def test_entries_are_read_unchanged_and_once(redis: Redis) -> None:
    await redis.xgroup_create("s", "g", mkstream=True)
    odd = {b"a": b"", b"": b"\xff", b"a ": b"2"}
    entries = [await redis.xadd("s", odd), await redis.xadd("s", {"gone": "1"})]  # type: ignore[arg-type]
    claim = Claim("lease", "me")
    assert await read_new(redis, claim, "g", ["s"], ReadLimits(1)) == [(b"s", entries[0], odd)]
    assert len(await read_new(redis, claim, "g", ["s"], ReadLimits(9))) == 1
    assert await read_new(redis, claim, "g", ["s"], ReadLimits(9)) == []
    assert await read_due(redis, claim, "nothing waits", 1, 9) == []


async def test_further_streams_share_the_limit_and_get_at_least_one(redis: Redis) -> None:
    for stream in ("s", "replays"):
        await redis.xgroup_create(stream, "g", mkstream=True)
        for n in range(9):
            await redis.xadd(stream, {"n": str(n)})

    async def taken(most: ReadLimits) -> list[bytes]:
        return [stream for stream, _, _ in await read_new(redis, Claim("lease", "me"), "g", ["s", "replays"], most)]

    assert await taken(ReadLimits(3, 5)) == [b"s"] * 3 + [b"replays"] * 2
    assert await taken(ReadLimits(5, 5)) == [b"s"] * 5 + [b"replays"]
    assert await taken(ReadLimits(9, 3)) == [b"s", b"replays", b"replays"]
    assert await taken(ReadLimits(9, 3)) == [b"replays"] * 3
