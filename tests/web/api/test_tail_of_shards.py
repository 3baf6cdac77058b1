"""A topic's stream of a relay with four shards, by a client of the API that connects again and again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.process.timings import Timings
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from relay.web.api import streams
from tests.services.topics.pull.conftest import context  # noqa: F401  a fixture
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context
    from tests.web.api.streaming import Api

TIMINGS = Timings(stream_heartbeat=0.05, stream_check=0.05, stream_write=0.3)
PATH = "topics/support/events/stream"


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
async def api(context: Context, shards: Shards, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:  # noqa: F811
    monkeypatch.setattr(streams, "load_timings", lambda: TIMINGS)
    async with running_api(replace(context, redis=shards.home), TIMINGS) as api:
        yield api


async def feed(shards: Shards, numbers: range) -> None:
    now = round(time.time() * 1000) - 1000
    for number in numbers:
        shard = shards.all[number * 3 % 4]
        fields: Any = {"id": f"e{number}", "type": "message.received", "at": "1", "body": "{}"}
        await shard.xadd(shard.key.topic("support"), fields, f"{now + number}-*")


async def test_client_that_connects_again_gets_each_event_once(shards: Shards, api: Api) -> None:
    await feed(shards, range(20))
    got: list[str] = []
    last: str | None = None
    for count in (1, 2, 3, 5, 9):
        async with api.events(f"{PATH}?since=1h", last) as messages:
            got += await messages.ids(count)
            last = messages.last_id
    await feed(shards, range(20, 24))
    async with api.events(PATH, last) as messages:
        got += await messages.ids(4)
    assert got == [f"e{number}" for number in range(24)]


async def test_client_that_connects_again_before_the_first_event_gets_it(shards: Shards, api: Api) -> None:
    async with api.events(f"{PATH}?since=1h") as messages:
        line = ""
        while not line.startswith("id: "):
            line = (await messages.response.content.readline()).decode()
        last = line.removeprefix("id: ").rstrip()
    await feed(shards, range(3))
    async with api.events(PATH, last) as messages:
        assert await messages.ids(3) == ["e0", "e1", "e2"]


async def test_entry_is_shown_and_taken_with_the_number_of_its_shard(shards: Shards, api: Api) -> None:
    await feed(shards, range(4))
    async with api.events(f"{PATH}?since=1h") as messages:
        entries = {}
        for _ in range(4):
            name, event = await anext(messages)
            entries[event["id"]] = event["entry"]
            assert name == "event"
    assert [entry.partition(".")[2] for entry in entries.values()] == ["", "3", "2", "1"]
    async with api.events(f"{PATH}?after={entries['e1']}") as messages:
        assert await messages.ids(2) == ["e2", "e3"]
