"""Bounds of what one subscriber that fails can make Redis store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.core.errors import StoreError
from relay.store.driver.client import ask
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.lane import Lane
from tests.support import KEYS, eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering, feed, ledger_of

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis


@pytest.fixture
async def bot(redis: Redis) -> Lane:
    """The lane, created."""
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    return lane


async def test_events_wait_in_the_topic_behind_many_retries(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.delivery.source._MAX_RETRYING", 10)
    rules_file.write_text(rules_for(sink, retry='["1s"]', bot="breaker = false"))
    rules.reload()
    is_down = True

    async def answer(_: Received) -> web.Response:
        return web.Response(status=500 if is_down else 200)

    sink.answer = answer
    await feed(redis, bot, *map(str, range(150)))
    with capture_logs() as logs:
        async with delivering(redis, rules, "bot"):
            await eventually(lambda: any(line["event"] == "lane.retries_full" for line in logs))
            row = await ledger_of(redis, "bot")
            assert row.retrying + row.waiting == 150
            sent = {post.headers["webhook-id"] for post in sink.received}
            assert len(sent) <= 100  # what was in flight, and a read
            is_down = False

            async def is_delivered() -> bool:
                return (await ledger_of(redis, "bot")).delivered == 150

            await eventually(is_delivered)
    assert (await ledger_of(redis, "bot")).balances


async def test_dead_letters_are_trimmed_as_they_come(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    """Retention, which comes once a minute, does not run here."""
    rules_file.write_text(rules_for(sink, bot='breaker = false\ndead = { size = "1MB" }'))
    rules.reload()

    async def answer(_: Received) -> web.Response:
        return web.Response(status=404)

    sink.answer = answer
    await feed(redis, bot, *map(str, range(450)), chat="x" * 5000)
    async with delivering(redis, rules, "bot"):

        async def is_over() -> bool:
            row = await ledger_of(redis, "bot")
            return row.dead + row.discarded == 450 and row.discarded > 100

        await eventually(is_over)
    assert (await ledger_of(redis, "bot")).balances


@pytest.mark.usefixtures("bot")
async def test_replays_that_wait_are_bounded(redis: Redis) -> None:
    entry = (await redis.xadd(KEYS.lane("bot", "dead"), {"id": "e1", "body": "{}"})).decode()
    await ask(
        redis.eval(f"for _ = 1, 100000 do redis.call('XADD', '{KEYS.lane('bot', 'replay')}', '*', 'i', '') end", 0)
    )
    letters, now_ms = DeadLetters(redis), round(time.time() * 1000)
    with pytest.raises(StoreError, match="100,000 replayed events"):
        await letters.replay("bot", [entry], now_ms)
    await redis.xtrim(KEYS.lane("bot", "replay"), maxlen=99_999, approximate=False)
    assert await letters.replay("bot", [entry], now_ms) == 1
