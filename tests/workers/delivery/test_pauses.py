"""Pauses that are read from Redis while the lane pauses itself, or while it begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from relay.store import wakeups
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering, feed

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from relay.config.file import ConfigFile
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.store.driver.client import Redis
    from relay.store.lanes.suspensions import Pause


async def test_pause_after_a_410_outlives_an_older_read_of_the_pauses(
    redis: Redis, rules: ConfigFile, rules_file: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, pauses = Lane(redis, "bot", "messages"), Suspensions.pauses
    await lane.ensure()
    rules_file.write_text(rules_for(sink, bot="concurrency = 1"))
    rules.reload()
    returned, ended, reads = asyncio.Event(), asyncio.Event(), 0

    async def late(self: Suspensions) -> dict[str, Pause]:
        """Return what the second read found once the lane has paused itself; later ones return at the end."""
        nonlocal reads
        reads += 1
        found = await pauses(self)
        if reads == 2:
            await eventually(lambda: pauses(self))
            returned.set()
        elif reads > 2:
            await ended.wait()
        return found

    async def answer(_: Received) -> web.Response:
        await eventually(lambda: reads >= 2)
        return web.Response(status=410)

    sink.answer = answer
    monkeypatch.setattr(Suspensions, "pauses", late)
    async with delivering(redis, rules, "bot"):
        await feed(redis, lane, "e1", "e2", "e3")
        await returned.wait()
        await asyncio.sleep(0.2)  # nothing may happen
        ids = sink.ids()
        ended.set()
    assert ids == ["e1"]


async def test_pause_that_is_read_while_the_lane_begins_counts(
    redis: Redis, rules: ConfigFile, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, open_breaker, pauses = Lane(redis, "bot", "messages"), Suspensions.open_breaker, Suspensions.pauses
    applied, ended = asyncio.Event(), asyncio.Event()

    async def late(self: Suspensions, name: str) -> OpenBreaker | None:
        """Let an operator pause the lane between the two reads with which it begins."""
        await Suspensions(redis).pause("bot", "maintenance", 1)
        async with asyncio.timeout(10):
            await applied.wait()
        await feed(redis, lane, "e1")
        return await open_breaker(self, name)

    async def watched(self: Suspensions) -> dict[str, Pause]:
        found = await pauses(self)
        if found:
            asyncio.get_running_loop().call_later(0.02, applied.set)
            monkeypatch.setattr(Suspensions, "pauses", never)
        return found

    async def never(_: Suspensions) -> dict[str, Pause]:
        await ended.wait()
        return {}

    await redis.xadd(lane.topic_stream, {"id": "e0"})  # a lane without its group is read by itself
    monkeypatch.setattr(Suspensions, "open_breaker", late)
    monkeypatch.setattr(Suspensions, "pauses", watched)
    async with delivering(redis, rules, "bot"):
        await redis.zadd(redis.key.ready(wakeups.partition_of("bot")), {"bot": 0})
        await applied.wait()
        await asyncio.sleep(0.2)  # nothing may happen
        ids = sink.ids()
        ended.set()
    assert ids == []
