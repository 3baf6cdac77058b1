"""The shared wait of shards on one server for marks of lanes, and the shared read of the pauses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.lanes.ready import mark_ready
from relay.store.lanes.suspensions import Suspensions
from relay.store.sharding.shards import Shards, open_shards
from tests.support import eventually
from workers.delivery.sharing import ready as ready_module
from workers.delivery.sharing.ready import SharedPauses, SharedReady

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.store.driver.client import Redis
    from relay.store.lanes.suspensions import Pause

PARTITION = 3


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


def waiting(shards: Shards, timeout: float) -> SharedReady:
    return SharedReady(dict(enumerate(shards.all)), PARTITION, timeout)


async def commands(redis: Redis, name: str) -> int:
    """Return how often Redis ran a command."""
    stats = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])


async def test_shards_wait_together_and_each_gets_its_own_marks(shards: Shards) -> None:
    before = await commands(shards.home, "bzpopmin")
    async with waiting(shards, 2.0) as ready:
        waits = [asyncio.create_task(ready.wait(number)) for number in range(4)]
        await eventually(lambda: is_blocked(shards.home))
        await mark_ready(shards.all[2], PARTITION, ["a", "b"], 1)
        assert sorted(await waits[2]) == ["a", "b"]
        assert not any(waits[number].done() for number in (0, 1, 3))
        await mark_ready(shards.all[0], PARTITION, ["c"], 1)
        assert await waits[0] == ["c"]
        assert [await waits[number] for number in (1, 3)] == [[], []]
    assert await commands(shards.home, "bzpopmin") - before == 3


async def is_blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"])


async def test_marks_of_a_shard_that_does_not_wait_are_kept_for_it(shards: Shards) -> None:
    async with waiting(shards, 0.2) as ready:
        await mark_ready(shards.all[1], PARTITION, ["late"], 1)
        assert await ready.wait(0) == []
        assert await ready.wait(1) == ["late"]


async def test_shard_with_many_marks_starves_no_other(shards: Shards) -> None:
    async with waiting(shards, 5.0) as ready:
        for shard in shards.all:
            await mark_ready(shard, PARTITION, ["x"], 1)
        other = asyncio.create_task(ready.wait(3))
        for _ in range(4):
            assert await ready.wait(0) == ["x"]
            await mark_ready(shards.home, PARTITION, ["x"], 1)
            if other.done():
                break
        assert await other == ["x"]


async def test_key_of_a_wrong_type_concerns_its_shard_only(shards: Shards) -> None:
    await shards.all[1].set(shards.all[1].key.ready(PARTITION), "overwritten")
    async with waiting(shards, 2.0) as ready:
        waits = [asyncio.create_task(ready.wait(number)) for number in (0, 1)]
        await eventually(waits[1].done)
        assert "WRONGTYPE" in str(waits[1].exception())
        await mark_ready(shards.home, PARTITION, ["a"], 1)
        assert await waits[0] == ["a"]


async def test_outage_reaches_every_loop_that_waits(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    goes = asyncio.Event()

    async def away(*_: object) -> tuple[str, list[str]]:
        await goes.wait()
        raise RedisConnectionError

    monkeypatch.setattr(ready_module, "wait_ready_in", away)
    async with waiting(shards, 2.0) as ready:
        waits = [asyncio.create_task(ready.wait(number)) for number in range(4)]
        goes.set()
        found = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(each) for each in found] == [RedisConnectionError] * 4


async def test_end_ends_the_read(shards: Shards) -> None:
    async with waiting(shards, 4.0) as ready:
        wait = asyncio.create_task(ready.wait(0))
        await eventually(lambda: is_blocked(shards.home))
        wait.cancel()
    assert not await ask(shards.home.exists(shards.home.key.ready(PARTITION)))
    await eventually(lambda: is_free(shards.home))


async def is_free(redis: Redis) -> bool:
    return not await is_blocked(redis)


async def test_loops_that_turn_together_share_the_read_of_the_pauses(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, pauses = 0, Suspensions.pauses

    async def counted(self: Suspensions) -> dict[str, Pause]:
        nonlocal reads
        reads += 1
        return await pauses(self)

    monkeypatch.setattr(Suspensions, "pauses", counted)
    shared, loop = SharedPauses(redis), asyncio.get_running_loop()
    await Suspensions(redis).pause("bot", "test", 1)
    began = loop.time()
    found: Sequence[tuple[object, float]] = await asyncio.gather(*(shared.read() for _ in range(8)))
    assert reads <= 2
    assert all("bot" in paused and as_of >= began for paused, as_of in found)  # type: ignore[operator]
    await Suspensions(redis).resume("bot")
    await asyncio.sleep(0.002)  # the clock of the event loop has milliseconds
    paused, as_of = await shared.read()
    assert "bot" not in paused
    assert as_of > began
