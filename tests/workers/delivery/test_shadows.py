"""Shadow subscriptions: they get what their original gets, and nothing of them alarms, holds or stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.config.file import ConfigFile
from relay.core.event_filter import EventFilter
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.lanes.attempts.log import attempts_of
from relay.store.lanes.lane import Lane
from relay.store.lanes.position import lane_names
from relay.store.shadow_marks import shadow_marks, shadows_of
from relay.store.sharding.shards import open_shards
from tests.building import SECRET
from tests.support import KEYS, eventually
from tests.workers.conftest import rules_for
from tests.workers.delivering import delivering, feed, ledger_of, now_ms
from workers.maintenance.retention import Retention

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink

SHADOW = f"""
[[subscriptions]]
name = "next"
shadow_of = "bot"
compare = "body"
url = "{{url}}/next"
secret = "{SECRET.text}"
"""


@pytest.fixture
async def shadowed(rules_file: Path, redis: Redis, sink: Sink) -> Path:
    """Rules with a shadow of `bot`, and the lanes of both."""
    rules_file.write_text(rules_for(sink) + SHADOW.format(url=sink.url))
    for name in ("bot", "next"):
        await Lane(redis, name, "messages").ensure()
    return rules_file


async def test_shadow_gets_the_deliveries_of_its_original(redis: Redis, shadowed: Path, sink: Sink) -> None:
    async def answer(received: Received) -> web.Response:
        await asyncio.sleep(0)
        text = '{"b": 1, "a": 2}' if received.path == "/bot" else '{"a":2,"b":1}'
        return web.Response(text=text, status=200)

    sink.answer = answer
    async with ConfigFile(shadowed) as rules, delivering(redis, rules, "bot", "next"):
        await feed(redis, Lane(redis, "bot", "messages"), "e1", "e2")
        await feed(redis, Lane(redis, "next", "messages"))
        await eventually(lambda: sorted(sink.ids("/next")) == ["e1", "e2"] == sorted(sink.ids("/bot")))
    headers = {post.path: post.headers for post in sink.received}
    assert headers["/next"]["relay-shadow-of"] == "bot"
    assert "relay-shadow-of" not in headers["/bot"]
    for name in ("bot", "next"):
        found = [each async for each in attempts_of(redis, name, EventFilter(), with_answers=True)]
        assert [each.detail for each in found] == ['{"a":2,"b":1}'] * 2


async def test_nothing_that_a_shadow_answers_is_an_alarm(redis: Redis, shadowed: Path, sink: Sink) -> None:
    async def answer(received: Received) -> web.Response:
        await asyncio.sleep(0)
        return web.Response(status=404 if received.path == "/next" else 204)

    sink.answer = answer
    events = [f"e{number}" for number in range(40)]
    with capture_logs() as logs:
        async with ConfigFile(shadowed) as rules, delivering(redis, rules, "bot", "next"):
            await feed(redis, Lane(redis, "bot", "messages"), *events)
            await feed(redis, Lane(redis, "next", "messages"))
            await eventually(lambda: any(line["event"] == "breaker.open" for line in logs))
            await eventually(lambda: len(sink.ids("/bot")) == len(events))
    assert {line["log_level"] for line in logs} == {"info"}
    row = await ledger_of(redis, "next")
    assert row.balances
    assert (await shadow_marks(redis))["next"].original == "bot"


async def test_shadow_that_is_down_for_days_keeps_no_event_of_its_topic(redis: Redis, shadowed: Path) -> None:
    day = 24 * 3600 * 1000
    stream, now = KEYS.topic("messages"), now_ms()
    old = [f"{now - 4 * day}-{number}" for number in range(5)]
    for group in ("push:bot", "push:next"):
        await redis.xgroup_setid(stream, group, "0")
    for entry in old:
        await redis.xadd(stream, {"id": entry, "body": "{}"}, id=entry)
    await redis.xadd(stream, {"id": "new", "body": "{}"})
    async with ConfigFile(shadowed) as rules:
        retention = Retention(redis, rules, lambda: now / 1000)
        await retention.trim()
        assert await redis.xlen(stream) == 6  # the original needs them
        await redis.xgroup_setid(stream, "push:bot", old[-1])
        with capture_logs() as logs:
            await retention.trim()
    assert await redis.xlen(stream) == 1
    assert {line["log_level"] for line in logs} == {"info"}
    row = await ledger_of(redis, "next")
    assert (row.lost, row.waiting, row.balances) == (5, 1, True)


async def test_shadow_that_is_removed_from_the_rules_leaves_nothing(redis: Redis, shadowed: Path, sink: Sink) -> None:
    now = now_ms() / 1000
    async with ConfigFile(shadowed) as rules, delivering(redis, rules, "next"):
        await feed(redis, Lane(redis, "next", "messages"), "e1")
        await eventually(lambda: sink.ids("/next") == ["e1"])
    shadowed.write_text(rules_for(sink))
    async with ConfigFile(shadowed) as rules:
        await Retention(redis, rules, lambda: now).trim()
        assert "next" in await lane_names(redis)  # the rules of another worker may be younger
        await Retention(redis, rules, lambda: now + 60).trim()
    assert await lane_names(redis) == ["bot"]
    assert not await shadow_marks(redis)
    assert not [key async for key in redis.scan_iter(f"{KEYS.lane('next')}*")]


async def test_shadow_that_became_a_subscription_keeps_its_lane(redis: Redis, shadowed: Path, sink: Sink) -> None:
    async with ConfigFile(shadowed) as rules, delivering(redis, rules, "next"):
        await feed(redis, Lane(redis, "next", "messages"), "e1")
        await eventually(lambda: sink.ids("/next") == ["e1"])
    text = shadowed.read_text().replace('shadow_of = "bot"\ncompare = "body"', 'topic = "messages"')
    shadowed.write_text(text)
    async with ConfigFile(shadowed) as rules:
        await Retention(redis, rules, lambda: now_ms() / 1000).trim()
    assert not await shadow_marks(redis)
    assert (await ledger_of(redis, "next")).delivered == 1


async def test_removed_shadow_leaves_nothing_on_any_shard(redis_url: str, shadowed: Path, sink: Sink) -> None:
    """The first shard ends it last, so that its name is given again only when nothing is left."""
    async with open_shards(redis_url, WORKER_TIMEOUT, count=3) as shards:
        for shard in shards.all:
            await Lane(shard, "next", "messages").ensure()
        home, second, third = shards.all
        async with ConfigFile(shadowed) as rules:
            for shard in shards.all:
                await Retention(shard, rules, lambda: now_ms() / 1000, home=home).trim()
        assert [list(await shadow_marks(shard)) for shard in shards.all] == [["next"]] * 3
        shadowed.write_text(rules_for(sink))
        async with ConfigFile(shadowed) as rules:

            async def trim(shard: Redis, later: float) -> None:
                await Retention(shard, rules, lambda: now_ms() / 1000 + later, home=home).trim()

            for shard in shards.all:
                await trim(shard, 0)
            await trim(second, 60)
            await trim(home, 60)
            assert [("next" in await lane_names(shard)) for shard in shards.all] == [True, False, True]
            assert await shadows_of(home, rules.current.config) == {"next": "bot"}, "on the third shard"
            await trim(third, 60)
            await trim(home, 60)
        for shard in shards.all:
            assert "next" not in await lane_names(shard)
            assert not await shadow_marks(shard)
