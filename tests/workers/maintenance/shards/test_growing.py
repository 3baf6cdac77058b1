"""The end of a growth by workers: what follows the decision is done without `relay shards apply`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from relay.config.settings import Settings
from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.lanes.lane import Lane
from relay.store.sharding.growth import completion
from relay.store.sharding.growth.fence import fence_of, prepare_fences
from relay.store.sharding.growth.state import Phase, cancel, decide, note_growth, read_growth
from relay.store.sharding.shards import Shards, open_shards
from tests.workers.conftest import rules_for
from workers.maintenance.growing import Growing
from workers.maintenance.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.file import ConfigFile
    from tests.support import Clock
    from tests.workers.conftest import Sink

CHATS = [f"v3:chat-{number}" for number in range(40)]


@pytest.fixture
async def shards(redis_url: str, rules_file: Path, rules: ConfigFile, sink: Sink) -> AsyncIterator[Shards]:
    """Four shards; the relay has two and is to grow, and learned the lines of chats that no `apply` has copied."""
    rules_file.write_text(rules_for(sink, bot='ordered = "chat"'))
    rules.reload()
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        await prepare_fences(shards.all, 2)
        await note_growth(shards.home, 2, 4, 1000)
        for shard in shards.all[:2]:
            await Lane(shard, "bot", "messages").ensure()
        for chat in CHATS:
            await ask(shards.home.hset(shards.home.key.chats, chat, "+1"))
            await shards.home.zadd(shards.home.key.chats_proved, {chat: 1000})
        yield shards


@pytest.fixture
def growing(shards: Shards, rules: ConfigFile, clock: Clock) -> Growing:
    return Growing(shards.home, rules, Settings(), clock)


async def decided(shards: Shards) -> None:
    growth = await read_growth(shards.home)
    assert growth is not None
    await decide(shards.home, growth, 2000)


async def phase_of(shards: Shards) -> Phase:
    growth = await read_growth(shards.home)
    assert growth is not None
    return growth.phase


async def test_growth_that_is_only_prepared_is_left_to_the_operator(growing: Growing, shards: Shards) -> None:
    await growing.step()
    assert await phase_of(shards) is Phase.NOTED
    assert await cancel(shards.home)


async def test_decided_growth_goes_on_to_its_end(growing: Growing, shards: Shards) -> None:
    await decided(shards)
    old = shards.all[1]
    entry = await old.xadd(old.key.inbox, {"id": "e"})
    with capture_logs() as logged:
        await growing.step()
        assert [(await fence_of(shard)).shards for shard in shards.all] == [4] * 4  # type: ignore[union-attr]
        assert await phase_of(shards) is Phase.ADVANCED
        assert not await shards.all[2].exists(shards.all[2].key.chats), "not before the inbox is routed"
        await old.xdel(old.key.inbox, entry)
        for _ in range(2):
            await growing.step()
    assert await phase_of(shards) is Phase.DONE
    moved = [await ask(shard.hlen(shard.key.chats)) for shard in shards.all[2:]]
    assert all(moved)
    assert [line["event"] for line in logged] == [
        *("shards.advanced", "shards.growing", "shards.copied", "shards.grown"),
    ]
    assert "on shard 1" in logged[1]["waiting"]


async def test_copies_are_made_once_while_an_ordered_lane_is_waited_for(
    growing: Growing, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    await decided(shards)
    stream = shards.home.key.topic("messages")
    await shards.home.xadd(stream, {"id": "e", "chat": "", "body": "{}"})
    copied = []

    async def copy_chats(*_: object) -> int:
        copied.append(1)
        if len(copied) == 1:
            raise RedisConnectionError
        return 0

    monkeypatch.setattr(completion, "copy_chats", copy_chats)
    with pytest.raises(RedisConnectionError):
        await growing.step()
    for _ in range(3):
        await growing.step()
    assert len(copied) == 2
    growth = await read_growth(shards.home)
    assert growth is not None
    assert (growth.phase, growth.completed_ms is None) == (Phase.ADVANCED, False)


async def test_worker_with_the_former_number_of_shards_takes_no_step(
    shards: Shards, redis_url: str, rules: ConfigFile, clock: Clock
) -> None:
    await decided(shards)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as former:
        await Growing(former.home, rules, Settings(), clock).step()
    assert await phase_of(shards) is Phase.DECIDED


async def test_sweep_of_the_first_shard_wakes_the_job_until_it_is_done(
    growing: Growing, shards: Shards, rules: ConfigFile, clock: Clock
) -> None:
    async def woken() -> list[str]:
        queue = shards.home.key.slow_queue
        jobs = await shards.home.zrange(queue, 0, -1)
        payloads = [json.loads(await ask(shards.home.get(f"arq:job:{job.decode()}")) or b"{}") for job in jobs]
        await shards.home.delete(queue)
        return [payload.get("f", "") for payload in payloads]

    sweeper = Sweeper(shards.home, rules, clock)
    await sweeper.sweep()
    assert await woken() == []
    await decided(shards)
    await Sweeper(shards.all[1], rules, clock, is_home=False).sweep()
    assert await woken() == []
    await sweeper.sweep()
    assert await woken() == ["grow"]
    while await phase_of(shards) is not Phase.DONE:
        await growing.step()
    await sweeper.sweep()
    assert await woken() == []
