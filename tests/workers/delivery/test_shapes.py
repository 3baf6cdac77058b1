"""Deliveries of a subscription with `shape`: each attempt is translated, what is stored stays Linq's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from relay.core.event_filter import EventFilter
from relay.store.lanes.attempts.log import attempts_of
from relay.store.lanes.dead_letters import DeadLetter, DeadLetters
from tests.schemas.samples import samples
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering, feed, now_ms

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from relay.store.lanes.lane import Lane


async def test_attempts_and_replays_are_translated_and_what_is_stored_is_not(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry="[]", bot='shape = "2025-01-01"'))
    rules.reload()

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if "relay-replay" in received.headers else 500)

    sink.answer = answer
    sample = next(each for each in samples() if each[:2] == ("2026-02-03", "message.received"))
    body = json.dumps(sample.body)
    letters = DeadLetters(redis)

    async def dead() -> list[DeadLetter]:
        return [letter async for letter in letters.of("bot")]

    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1", body=body)
        await eventually(dead)
        [letter] = await dead()
        assert letter.record.body == body.encode()
        await letters.replay("bot", [letter.record.entry], now_ms())
        await eventually(lambda: len(sink.received) == 2)

        async def recorded() -> bool:
            return len([each async for each in attempts_of(redis, "bot", EventFilter())]) == 2

        await eventually(recorded)
    for post in sink.received:
        assert json.loads(post.body)["webhook_version"] == post.headers["relay-shape"] == "2025-01-01"
    marks = [found.attempt.marks async for found in attempts_of(redis, "bot", EventFilter())]
    assert marks == [["replay", "translated"], ["translated"]]
