"""Pull over HTTP from four shards on a Redis Cluster: every event is handled once, also those of a killed reader."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.journeys.test_shards import CHATS, COUNT, cluster, running, send, shards  # noqa: F401  fixtures
from tests.support import eventually, reserve_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.sharding.shards import Shards
    from tests.journeys.conftest import Service

pytestmark = [pytest.mark.slow, pytest.mark.own_cluster, pytest.mark.timeout(180)]  # seconds, also on a busy machine

GROUP = "topics/messages/groups/billing"
EVENTS = f"{GROUP}/events"


@pytest.fixture
async def api(running: Service) -> AsyncIterator[aiohttp.ClientSession]:  # noqa: F811  the fixture
    port = reserve_port()
    running.environment["RELAY_ADMIN_LISTEN"] = f"127.0.0.1:{port}"
    await running.start("admin")
    scopes = [part for scope in ("read", "subscribe", "replay") for part in ("--scope", scope)]
    token = json.loads(await running.run("token", "create", "test", *scopes, "--json"))["token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}/api/v1/", headers=headers) as http:

        async def answers() -> bool:
            with suppress(aiohttp.ClientError):
                async with http.get("groups") as answer:
                    return answer.status == 200
            return False

        await eventually(answers)
        yield http


@asynccontextmanager
async def sending(service: Service) -> AsyncIterator[set[str]]:
    """Send the events of all chats while the context is open; yield their ids."""
    sent = {chat: [f"{chat}-{number}" for number in range(COUNT)] for chat in CHATS}
    async with aiohttp.ClientSession(service.url) as http:
        posting = asyncio.gather(*(send(http, chat, ids) for chat, ids in sent.items()))
        yield {event_id for ids in sent.values() for event_id in ids}
        await posting


async def get(http: aiohttp.ClientSession, path: str, **query: str | int) -> Any:
    async with http.get(path, params=query) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def post(http: aiohttp.ClientSession, path: str, **body: Any) -> Any:
    async with http.post(path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def letters_of(http: aiohttp.ClientSession) -> list[Any]:
    """Return the dead letters of the group, page by page: on a busy machine a page is short."""
    page = await get(http, f"{GROUP}/dead-letters", limit=5)
    letters = page["items"]
    while page["next"] is not None:
        page = await get(http, f"{GROUP}/dead-letters", limit=5, cursor=page["next"])
        letters += page["items"]
    return list(letters)


class Reader:
    """A reader that handles an event and acknowledges its batch with the next request."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._cursor: str | None = None
        self.handled: list[str] = []
        self.deliveries: dict[str, int] = {}

    async def read(self, *, rejects: bool = False) -> None:
        """Read a batch; with `rejects`, those events are rejected that are the first ones of their chats."""
        ack = {} if self._cursor is None else {"ack": self._cursor}
        batch = await get(self._http, EVENTS, wait="2s", limit=7, **ack)
        self._cursor = batch["cursor"]
        rejected = [event for event in batch["events"] if rejects and event["id"].endswith("-0")]
        if rejected:
            receipts = [event["receipt"] for event in rejected]
            assert (await post(self._http, f"{GROUP}/reject", receipts=receipts, error="no"))["done"] == len(rejected)
        for event in batch["events"]:
            if event not in rejected:
                self.handled.append(event["id"])
                self.deliveries[event["id"]] = event["deliveries"]


async def test_every_event_is_handled_once_also_those_of_a_killed_reader(
    running: Service,  # noqa: F811  a fixture
    api: aiohttp.ClientSession,
    shards: Shards,  # noqa: F811  a fixture
) -> None:
    reader = Reader(api)
    async with sending(running) as sent:
        killed = await get(api, EVENTS, member="killed", visibility="3s", wait="20s", limit=10)
        assert killed["events"]
        firsts = {event_id for event_id in sent if event_id.endswith("-0")}
        while len(reader.handled) < len(sent - firsts):
            await reader.read(rejects=True)
    given = {event["id"] for event in killed["events"]}
    assert sorted(reader.handled) == sorted(sent - firsts)
    assert {event_id for event_id, times in reader.deliveries.items() if times > 1} == given - firsts
    for chat in CHATS:
        of_chat = [event_id for event_id in reader.handled if event_id.rpartition("-")[0] == chat]
        assert given & set(of_chat) or of_chat == sorted(of_chat)
    assert all([await shard.xlen(shard.key.topic("messages")) for shard in shards.all])

    while (await get(api, GROUP))["dead"] < len(firsts):
        await reader.read(rejects=True)
    letters = await letters_of(api)
    assert {letter["event"] for letter in letters} == firsts
    assert len({letter["id"] for letter in letters}) == len(letters) == len(firsts)
    done = await post(api, f"{GROUP}/dead-letters/replay", all=True, why="repaired")
    assert done == {"replayed": len(firsts), "gone": []}
    while len(reader.handled) < len(sent):
        await reader.read()
    await reader.read()  # acknowledges the last ones
    assert sorted(reader.handled) == sorted(sent)
    [group] = json.loads(await running.run("groups", "list", "--json"))
    assert (group["name"], group["lag"], group["pending"], group["dead"]) == ("billing", 0, 0, 0)
    assert "CROSSSLOT" not in running.log.read_text()
