"""Pull over HTTP of a relay with four shards: a client takes ids, receipts and cursors as they come."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.access.scopes import EVERY_SCOPE
from relay.process.timings import Timings
from tests.services.topics.pull.conftest import arrivals, context, shards, whole  # noqa: F401  fixtures
from tests.services.topics.pull.reading import CRM, feed, feed_at
from tests.web.api.streaming import running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context
    from relay.store.sharding.shards import Shards
    from tests.web.api.streaming import Api

GROUP = "topics/support/groups/crm"
EVENTS = f"{GROUP}/events"
DEAD = f"{GROUP}/dead-letters"


@pytest.fixture
async def api(whole: Context) -> AsyncIterator[Api]:  # noqa: F811  the fixture
    async with running_api(whole, Timings()) as api:
        api.tokens["crm"] = replace(CRM, scopes=EVERY_SCOPE)
        yield api


async def got(api: Api, path: str, **query: str | int) -> Any:
    return await (await api.http.get(path, params=query)).json()


async def done(api: Api, path: str, **body: Any) -> Any:
    answer = await api.http.post(path, json=body)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def test_reader_receives_and_acknowledges_all_by_cursor(api: Api, shards: Shards) -> None:  # noqa: F811  a fixture
    for number, shard in enumerate(shards.all):
        await feed(shard, *(f"{number}-{n}" for n in range(30)))
    found: list[str] = []
    query: dict[str, str | int] = {"limit": 25}
    while (batch := await got(api, EVENTS, **query))["events"]:
        found += [event["id"] for event in batch["events"]]
        entries = [event["entry"] for event in batch["events"]]
        assert len(set(entries)) == len(entries) <= 25
        query["ack"] = batch["cursor"]
    assert (batch["cursor"], batch["pending"]) == (None, 0)
    assert sorted(found) == sorted(f"{number}-{n}" for number in range(4) for n in range(30))
    group = await got(api, GROUP)
    assert (group["lag"], group["pending"]) == (0, 0)


async def test_reader_settles_by_receipts(api: Api, shards: Shards) -> None:  # noqa: F811  a fixture
    for number, shard in enumerate(shards.all):
        await feed_at(shard, **{f"e{number}": 1000})
    batch = await got(api, EVENTS)
    assert [event["entry"] for event in batch["events"]] == ["1000-0", "1000-0.1", "1000-0.2", "1000-0.3"]
    given = [event["receipt"] for event in batch["events"]]
    assert await done(api, f"{GROUP}/ack", receipts=[*given[:2], "1000-0.7.1"]) == {"done": 2, "not_done": []}
    assert await done(api, f"{GROUP}/extend", receipts=given, visibility="5m") == {"done": 2, "not_done": given[:2]}
    assert (await done(api, f"{GROUP}/release", receipts=given[2:3]))["done"] == 1
    again = await got(api, EVENTS)
    assert [(event["id"], event["deliveries"]) for event in again["events"]] == [("e2", 2)]
    assert (await done(api, f"{GROUP}/ack", up_to=again["cursor"]))["done"] == 1
    assert (await done(api, f"{GROUP}/reject", receipts=given[3:], error="no customer"))["done"] == 1
    assert (await api.http.post(f"{GROUP}/ack", json={"receipts": ["1-1.0.1"]})).status == 422


async def test_dead_letters_are_shown_replayed_and_dropped_by_their_ids(
    api: Api,
    shards: Shards,  # noqa: F811  a fixture
) -> None:
    for number, shard in enumerate(shards.all):
        await feed_at(shard, **{f"e{number}": 1000 + number})
    batch = await got(api, EVENTS)
    await done(api, f"{GROUP}/reject", receipts=[event["receipt"] for event in batch["events"]])
    first = await got(api, DEAD, limit=2)
    rest = await got(api, DEAD, limit=2, cursor=first["next"])
    letters = {letter["event"]: letter for letter in (*first["items"], *rest["items"])}
    assert len({letter["id"] for letter in letters.values()}) == 4
    for letter in letters.values():
        assert (await got(api, f"{DEAD}/{letter['id']}"))["event"] == letter["event"]
    assert (await api.http.get(f"{DEAD}/{letters['e3']['id'].partition('.')[0]}.9")).status == 404
    chosen = [letters["e1"]["id"], letters["e3"]["id"]]
    assert await done(api, f"{DEAD}/replay", ids=chosen, why="repaired") == {"replayed": 2, "gone": []}
    assert [event["id"] for event in (await got(api, EVENTS))["events"]] == ["e1", "e3"]
    assert await done(api, f"{DEAD}/drop", all=True, why="test") == {"dropped": 2}


async def test_group_is_moved_to_an_entry_and_deleted(api: Api, shards: Shards) -> None:  # noqa: F811  a fixture
    for number, shard in enumerate(shards.all):
        await feed_at(shard, **{f"e{number}": 1000 + number})
    assert len((await got(api, EVENTS))["events"]) == 4
    moved = await done(api, f"{GROUP}/seek", entry="1002-0.2", why="again")
    assert (moved["events"], moved["is_back"], moved["skipped"], moved["redelivered"]) == (2, True, 0, 2)
    assert [event["id"] for event in (await got(api, EVENTS))["events"]] == ["e2", "e3"]
    assert [(group["name"], group["pending"]) for group in (await got(api, "groups"))["items"]] == [("crm", 4)]
    assert (await api.http.delete(GROUP, params={"why": "test"})).status == 204
    assert (await got(api, "groups"))["items"] == []


async def test_stream_has_the_events_of_all_shards(api: Api, shards: Shards) -> None:  # noqa: F811  a fixture
    for number, shard in enumerate(shards.all):
        await feed_at(shard, **{f"e{number}": 1000 + number})
    async with api.events(f"{EVENTS}/stream?held=3") as messages:
        first = [(await anext(messages))[1] for _ in range(3)]
        assert messages.last_id is not None
        await done(api, f"{GROUP}/ack", receipts=[first[0]["receipt"]])
        _, last = await anext(messages)
    assert {event["id"] for event in (*first, last)} == {f"e{number}" for number in range(4)}
