"""Memory of lanes at rest: it is freed with their workers, without a run of the cyclic garbage collector."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.garbage import garbage_of
from tests.support import eventually
from tests.workers.conftest import TIMINGS, rules_for
from tests.workers.delivering import delivering, feed, ledger_of

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.lanes.lane import Lane
    from tests.workers.conftest import Received, Sink


@pytest.mark.parametrize("keys", ["", 'ordered = "chat"'], ids=["unordered", "ordered"])
@pytest.mark.parametrize("is_good", [True, False], ids=["delivered", "dead"])
async def test_lane_at_rest_is_freed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, *, keys: str, is_good: bool
) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(status=200 if is_good else 400)

    async def settled() -> bool:
        ledger = await ledger_of(redis, "bot")
        return ledger.delivered + ledger.dead == 3

    def is_running() -> bool:
        return any(task.get_name() == "lane bot" for task in asyncio.all_tasks())

    sink.answer = answer
    rules_file.write_text(rules_for(sink, bot=keys))
    rules.reload()
    with garbage_of("workers.delivery", "relay.store.lanes.lane") as garbage:
        await feed(redis, lanes["bot"], "a", "b", "c", chat="chat")
        async with delivering(redis, rules, timings=replace(TIMINGS, idle=0.2)):
            await eventually(settled)
            await eventually(lambda: not is_running())
    assert not garbage
