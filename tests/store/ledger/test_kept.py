"""States of lanes that are kept: those at rest are not read again until something concerns them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.lanes.lane import Lane
from relay.store.lanes.position import drop_lane
from relay.store.ledger import kept as module
from relay.store.ledger.kept import KeptStates
from relay.store.ledger.ledger import Ledger
from relay.store.sharding.shards import open_shards

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.ledger.kept import Reading

TOPICS = {"bot": "support", "crm": "support", "erp": "sales"}


@pytest.fixture
async def kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> KeptStates:
    monkeypatch.setattr(module, "_IN_TURN", 0)
    for name, topic in TOPICS.items():
        await Lane(redis, name, topic).ensure()
    return KeptStates(redis)


async def route(redis: Redis, topic: str) -> None:
    await redis.xadd(redis.key.topic(topic), {"id": "e"})
    await ask(redis.hincrby(redis.key.counts, f"routed:{redis.key.topic(topic)}", 1))


def names_in(reading: Reading) -> list[str]:
    return [state.ledger.subscription for state in reading.states]


async def test_a_lane_is_read_again_once_its_topic_has_another_event(redis: Redis, kept: KeptStates) -> None:
    assert names_in(await kept.read(1)) == ["bot", "crm", "erp"]
    assert await kept.read(1) == ([], {"bot": 0, "crm": 0, "erp": 0})
    await route(redis, "support")
    for _ in range(2):
        reading = await kept.read(1)
        assert (names_in(reading), reading.at_rest) == (["bot", "crm"], {"erp": 0}), "an event waits for them"
        assert [state.ledger.waiting for state in reading.states] == [1, 1]
    assert list(reading.states) == await Ledger(redis).states(lanes=["bot", "crm"])


async def test_a_lane_that_is_asked_for_new_or_gone_is_noticed(redis: Redis, kept: KeptStates) -> None:
    await kept.read(1)
    assert names_in(await kept.read(1, also={"erp", "unknown"})) == ["erp"]
    await drop_lane(redis, "bot")
    await Lane(redis, "new", "sales").ensure()
    reading = await kept.read(1)
    assert (names_in(reading), reading.at_rest) == (["new"], {"crm": 0, "erp": 0})


async def test_each_lane_is_read_in_turn(kept: KeptStates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IN_TURN", 2)
    await kept.read(1)
    assert [names_in(await kept.read(1)) for _ in range(3)] == [["bot", "crm"], ["bot", "erp"], ["bot", "crm"]]


async def test_lane_at_rest_on_one_shard_is_read_on_the_others(
    redis_url: str, kept: KeptStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    del kept
    async with open_shards(redis_url, WORKER_TIMEOUT, count=2) as shards:
        for name, topic in TOPICS.items():
            await Lane(shards.all[1], name, topic).ensure()
        whole = KeptStates(shards.home)
        assert names_in(await whole.read(1)) == [*sorted(TOPICS), *sorted(TOPICS)]
        assert await whole.read(1) == ([], {"bot": 0, "crm": 0, "erp": 0})
        await route(shards.all[1], "sales")
        await ask(shards.all[0].hincrby(shards.all[0].key.lane("bot"), "delivered", 3))
        reading = await whole.read(1)
        assert names_in(reading) == ["erp"]
        assert reading.delivered == {"bot": 0, "crm": 0, "erp": 0}, "as when they were read last"
        assert names_in(await whole.on(shards.all[0]).read(1)) == []
        assert names_in(await whole.on(shards.all[1]).read(1)) == ["erp"]
        monkeypatch.setattr(module, "_IN_TURN", 3)
        assert (await whole.read(1)).delivered["bot"] == 3
