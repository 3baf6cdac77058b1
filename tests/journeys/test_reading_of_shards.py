"""Four shards on a Redis Cluster: events are searched, told, followed and replayed as those of one relay."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.store.topics.replays import State
from tests.cli.running import ended, line_with, relay_process
from tests.journeys.test_shards import CHATS, cluster, running, send, shards  # noqa: F401  fixtures
from tests.support import eventually

if TYPE_CHECKING:
    from tests.journeys.conftest import Service

pytestmark = [pytest.mark.slow, pytest.mark.own_cluster, pytest.mark.timeout(180)]  # seconds, also on a busy machine


async def test_history_of_all_shards_is_found_and_replayed_once(running: Service) -> None:  # noqa: F811  the fixture
    sent = [[f"{chat}-{number}" for number in range(2)] for chat in CHATS]
    everything, sink = {name for ids in sent for name in ids}, running.sink
    async with relay_process("topics", "tail", "messages", "--since", "1h", "--json", **running.environment) as tail:
        async with aiohttp.ClientSession(running.url) as http:
            await asyncio.gather(*(send(http, chat, ids) for chat, ids in zip(CHATS, sent, strict=True)))
        await eventually(lambda: everything == set(sink.ids("/bot")) == set(sink.ids("/crm")), timeout=60)
        shown = [json.loads(await line_with('"id"', tail.stdout)) for _ in everything]
        tail.terminate()
        assert (await ended(tail)).out == ""
    assert {event["id"] for event in shown} == everything
    assert len({event["topics"][0]["entry"].partition(".")[2] for event in shown}) == 4

    found = json.loads(await running.run("events", "search", "--json"))
    assert Counter(event["id"] for event in found["events"]) == Counter(everything)
    for name in (sent[0][0], sent[5][1]):
        story = json.loads(await running.run("event", name, "--json"))
        assert [(part["subscription"], part["state"]) for part in story["push"]] == [
            ("bot", "delivered"),
            ("crm", "delivered"),
        ]

    before = len(sink.ids("/bot"))
    started = json.loads(await running.run("replay", "--topic", "everything", "--to", "bot", "--json"))
    assert started["matching"] == len(everything)

    async def replayed() -> dict[str, int] | None:
        [row] = json.loads(await running.run("replay", "list", "--json"))
        return row if row["state"] != State.RUNNING else None

    row = await eventually(replayed, timeout=60)
    assert (row["state"], row["sent"], row["missed"]) == (State.DONE, len(everything), 0)
    await eventually(lambda: len(sink.ids("/bot")) == before + len(everything), timeout=60)
    assert Counter(sink.ids("/bot")[before:]) == Counter(everything)
