"""The order of a chat that has moved to a new shard: its lane waits there until its former shard is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.core.sharding.placement import ShardKey, shard_of
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.lanes.lane import Lane
from relay.store.sharding.growth.fence import prepare_fences
from relay.store.sharding.growth.state import decide, note_growth, opened_lanes, read_growth
from relay.store.sharding.growth.watch import current_placement
from relay.store.sharding.shards import Shards, open_shards
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering, feed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.file import ConfigFile

CHAT = next(
    chat
    for chat in (f"chat-{number}" for number in range(1000))
    if shard_of(ShardKey("", chat), 2) == 1 and shard_of(ShardKey("", chat), 4) == 3
)


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    """Four shards; the relay has two, and is to grow."""
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        await prepare_fences(shards.all, 2)
        await note_growth(shards.home, 2, 4, 1000)
        for shard in shards.all:
            await Lane(shard, "bot", "messages").ensure()
        yield shards


async def switch(shards: Shards) -> None:
    growth = await read_growth(shards.home)
    assert growth is not None
    await decide(shards.home, growth, 2000)
    await current_placement(shards.home, 60_000, 3000)


async def test_ordered_lane_waits_on_the_new_shard_for_a_retry_on_the_old_one(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, bot='ordered = "chat"', retry=str(["50ms"] * 40)))
    rules.reload()
    status = 503

    async def answer(_: Received) -> web.Response:
        return web.Response(status=status)

    sink.answer = answer
    old, new = shards.all[1], shards.all[3]
    await feed(old, Lane(old, "bot", "messages"), "first", chat=CHAT)
    await switch(shards)
    await feed(new, Lane(new, "bot", "messages"), "second", chat=CHAT)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: sink.ids().count("first") > 3)
        assert "second" not in sink.ids()
        status = 204
        await eventually(lambda: "second" in sink.ids())
        assert await opened_lanes(shards.home) == {"bot"}
        await feed(new, Lane(new, "bot", "messages"), "third", chat=CHAT)
        await eventually(lambda: "third" in sink.ids())
    assert list(dict.fromkeys(sink.ids())) == ["first", "second", "third"]
    assert sink.ids().count("second") == 1


async def test_lane_without_order_waits_for_nothing(
    shards: Shards, rules_file: Path, rules: ConfigFile, sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink))
    rules.reload()
    old, new = shards.all[1], shards.all[3]
    await old.xadd(old.key.inbox, {"id": "not routed"})
    await switch(shards)
    await feed(new, Lane(new, "bot", "messages"), "second", chat=CHAT)
    async with delivering(shards.home, rules, "bot", others=shards.all[1:]):
        await eventually(lambda: sink.ids() == ["second"])
