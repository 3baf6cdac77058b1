"""Events of a relay with four shards: searched, told, sent again and followed as those of one."""

from __future__ import annotations

import asyncio
import struct
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.errors import NotFound
from relay.services.topics.events import EventQuery, resend, resend_entry, story, tail
from relay.services.topics.history.find import claim_on
from relay.services.topics.history.pull import PullState
from relay.services.topics.history.push import PushState
from relay.services.topics.history.search import search
from relay.services.topics.history.view import Place
from relay.services.topics.life.life import life_of
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.lanes.lane import Lane
from relay.store.sharding.shards import Shards, open_shards
from relay.store.topics import stream_search
from tests.building import CUSTOMER
from tests.cli.attempting import BAD, GOOD
from tests.services.topics.history.conftest import OPERATOR, put
from tests.support import eventually
from tests.workers.delivering import now_ms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from relay.services.context import Context
    from relay.services.topics.history.view import EventView
    from relay.store.driver.client import Redis

T = 1_789_377_302_000
TOPICS = ("messages", "everything")


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
def whole(context: Context, shards: Shards) -> Context:
    return replace(context, redis=shards.home)


async def both(shard: Redis, event_id: str, at_ms: int, **more: Any) -> None:
    """Route an event into both topics of a shard."""
    for topic in TOPICS:
        await put(shard, topic, event_id, at_ms, **more)


async def claim(shard: Redis, event_id: str, at_ms: int, window: float) -> None:
    left = window * 1000 - (now_ms() - at_ms)
    await shard.set(shard.key.seen_prefix + event_id, struct.pack("<III", 1, 2, 3), px=round(left))


@pytest.mark.parametrize("limit", [1, 3, 50])
@pytest.mark.parametrize("seconds", [0.0, None])
async def test_pages_have_the_events_of_all_shards_once_newest_first(
    whole: Context, shards: Shards, monkeypatch: pytest.MonkeyPatch, limit: int, seconds: float | None
) -> None:
    monkeypatch.setattr(stream_search, "PAGE", 3)
    expected = {}
    for n in range(40):
        shard = n % 3 + n % 2  # at many moments several shards have an event, with the same id of its entry
        for topic in TOPICS[n % 2 :]:
            await put(shards.all[shard], topic, f"e{n}", T + n // 4, handle=CUSTOMER if n % 3 else "x@example.com")
        if n % 3:
            expected[f"e{n}"] = shard
    found: list[EventView] = []
    cursor = None
    while True:
        query = EventQuery(handle=CUSTOMER)
        page = await search(whole, OPERATOR, query, cursor, limit, seconds=seconds)
        assert len(page.events) <= limit
        found += page.events
        if (cursor := page.cursor) is None:
            break
    assert sorted(event.id for event in found) == sorted(expected)
    times = [event.places[0].at_ms for event in found]
    assert times == sorted(times, reverse=True)
    for event in found:
        assert {place.shard for place in event.places} == {expected[event.id]}
        assert {place.topic for place in event.places} == set(TOPICS[int(event.id[1:]) % 2 :])


async def test_newest_events_need_few_entries_of_each_shard(whole: Context, shards: Shards) -> None:
    for n in range(200):
        await put(shards.all[n % 4], "messages", f"e{n}", T + n)
    found = await search(whole, OPERATOR, EventQuery(topic="messages"), limit=10, seconds=None)
    assert [event.id for event in found.events] == [f"e{n}" for n in range(199, 189, -1)]
    assert found.entries <= 4 * 8


async def test_event_is_found_on_the_shard_of_its_claim(whole: Context, shards: Shards) -> None:
    at = now_ms() - 60_000
    await both(shards.all[2], "e", at)
    await both(shards.all[1], "other", at)
    await claim(shards.all[2], "e", at, whole.settings.relay_dedupe_window)
    known = await claim_on(whole, "e")
    assert known is not None
    assert (known.shard, abs(known.accepted_ms - at) < 1000) == (2, True)
    told = await story(whole, OPERATOR, "e", seconds=0)  # there is no time for a search
    assert [(place.topic, place.shard) for place in told.event.places] == [("messages", 2), ("everything", 2)]
    assert [part.entry for part in told.topics] == [f"{at}-0.2", f"{at}-0.2"]
    assert await claim_on(whole, "unknown") is None


async def test_oldest_of_several_claims_counts(whole: Context, shards: Shards) -> None:
    window = whole.settings.relay_dedupe_window
    await claim(shards.all[1], "e", now_ms() - 1000, window)
    await claim(shards.all[3], "e", now_ms() - 9000, window)
    known = await claim_on(whole, "e")
    assert known is not None
    assert known.shard == 3


@pytest.mark.parametrize("number", range(4))
async def test_story_has_what_receivers_have_on_the_shard_of_the_event(
    whole: Context, shards: Shards, number: int
) -> None:
    for each in shards.all:
        await Lane(each, "bot", "messages").ensure()
        await Lane(each, "crm", "everything").ensure()
    shard = shards.all[number]
    for event_id, at in (("before", T), ("e", T + 1), ("after", T + 2)):
        await both(shard, event_id, at, chat="c7")
    await both(shards.all[(number + 1) % 4], "elsewhere", T + 1)
    entry = f"{T + 1}-0"
    stream = shard.key.topic("messages")
    await shard.xgroup_create(stream, "team", "0")
    await shard.xreadgroup("team", "m1", {stream: ">"})
    await shard.xack(stream, "team", f"{T}-0")
    attempt = BAD._replace(event_id="e", topic="messages", entry=entry, at_ms=T + 5)
    await shard.xadd(shard.key.lane("bot", "attempts"), {"a": attempt.encode()}, f"{T + 5}-1")
    await shard.xadd(shard.key.lane("bot", "answers"), {"a": "no room"}, f"{T + 5}-1")
    lane = Lane(shard, "bot", "messages")
    await lane.read_new(10)
    await shard.xack(stream, "push:bot", entry)
    letter: Any = {"id": "e", "type": "message.received", "dead_at": T + 5, "dead_reason": "500"}
    await shard.xadd(shard.key.lane("bot", "dead"), letter, f"{T + 6}-1")

    told = await story(whole, OPERATOR, "e")
    suffix = f".{number}" if number else ""
    assert [part.entry for part in told.topics] == [entry + suffix] * 2
    bot, crm = told.push
    assert (bot.state, [found.detail for found in bot.attempts]) == (PushState.DEAD, ["no room"])
    assert bot.attempts[0].attempt.entry == entry + suffix
    assert bot.dead is not None
    assert bot.dead.entry == f"{T + 6}-1{suffix}"
    assert (crm.state, crm.attempts) == (PushState.WAITING, ())
    [pull] = told.pull
    assert (pull.group, pull.state, pull.member) == ("team", PullState.PENDING, "m1")
    assert told.chat.previous is not None
    assert told.chat.next is not None
    assert (told.chat.previous.id, told.chat.next.id) == ("before", "after")


async def test_event_that_no_topic_holds_is_told_from_any_shard(whole: Context, shards: Shards) -> None:
    for each in shards.all:
        await Lane(each, "bot", "messages").ensure()
    shard = shards.all[3]
    letter: Any = {"id": "e", "type": "message.received", "at": T, "body": "{}", "dead_at": T, "dead_reason": "gone"}
    await shard.xadd(shard.key.lane("bot", "dead"), letter, f"{T}-1")
    for number, at in ((1, T + 7), (3, T + 5)):
        attempt = GOOD._replace(event_id="e", topic="messages", at_ms=at)
        await shards.all[number].xadd(shards.all[number].key.lane("bot", "attempts"), {"a": attempt.encode()})
    told = await story(whole, OPERATOR, "e")
    [part] = told.push
    assert (told.is_held, told.event.type, part.state) == (False, "message.received", PushState.DEAD)
    assert part.dead is not None
    assert part.dead.entry == f"{T}-1.3"
    assert [found.attempt.at_ms for found in part.attempts] == [T + 5, T + 7]


async def test_neighbours_of_a_chat_that_moved_are_found_on_the_other_shard(whole: Context, shards: Shards) -> None:
    await both(shards.all[0], "old", T, chat="c7")
    await both(shards.all[2], "new", T + 5, chat="c7")
    older, newer = [(await story(whole, OPERATOR, event_id)).chat for event_id in ("old", "new")]
    assert (older.previous, newer.next, older.searched_all, newer.searched_all) == (None, None, True, True)
    assert older.next is not None
    assert newer.previous is not None
    assert (older.next.id, newer.previous.id) == ("new", "old")


async def test_life_of_a_message_has_steps_on_all_shards(whole: Context, shards: Shards) -> None:
    body = '{"data": {"message": {"id": "m1"}, "id": "m1"}}'
    for at, (number, kind) in enumerate(((0, "sent"), (2, "delivered"), (2, "read")), T):
        await put(shards.all[number], "messages", kind, at, type=f"message.{kind}", message="m1", body=body)
    life = await life_of(whole, OPERATOR, "m1")
    assert {(step.kind, step.places[0].shard) for step in life.steps} == {("sent", 0), ("delivered", 2), ("read", 2)}
    assert all(step.has is not None for step in life.steps)
    with pytest.raises(NotFound):
        await life_of(whole, OPERATOR, "m2")


async def test_event_is_sent_again_on_its_shard(whole: Context, shards: Shards) -> None:
    shard = shards.all[2]
    await both(shard, "e", T)
    sent = await resend(whole, OPERATOR, "e", "bot")
    [(entry, fields)] = await shard.xrange(shard.key.lane("bot", "replay"))
    assert (fields[b"id"], sent.replay) == (b"e", f"{entry.decode()}.2")
    assert (sent.place.topic, sent.place.entry) == ("messages", f"{T}-0.2")
    again = await resend_entry(whole, OPERATOR, Place("everything", f"{T}-0.2"), "bot")
    assert again.event_id == "e"
    assert await shard.xlen(shard.key.lane("bot", "replay")) == 2
    for other in shards.all:
        assert other is shard or not await other.xlen(other.key.lane("bot", "replay"))
    told = await story(whole, OPERATOR, "e")
    assert (told.push[0].state, told.push[0].replays) == (PushState.REPLAYING, 2)
    for wrong in (f"{T}-0", f"{T}-0.1", f"{T}-0.4", f"{T}-0.x", f"{T}-0.02"):
        with pytest.raises(NotFound):
            await resend_entry(whole, OPERATOR, Place("messages", wrong), "bot")


async def test_tail_has_the_past_in_order_and_then_what_comes(whole: Context, shards: Shards) -> None:
    now = now_ms()
    await put(shards.all[1], "messages", "before", now - 900_000)
    for n in range(20):
        await put(shards.all[n * 7 % 4], "messages", f"e{n:02}", now - 60_000 + n // 2)
    events: Any = tail(whole, OPERATOR, "messages", EventQuery(since_ms=now - 600_000))
    found: list[EventView] = []

    async def follow(events: AsyncGenerator[EventView]) -> None:
        async with aclosing(events):
            async for event in events:
                found.append(event)  # noqa: PERF401  each as it comes

    task = asyncio.create_task(follow(events))
    await eventually(lambda: len(found) == 20)
    assert [event.places[0].at_ms for event in found] == [now - 60_000 + n // 2 for n in range(20)]
    for n in range(20, 60):
        await put(shards.all[n % 4], "messages", f"e{n:02}", now + n)
    await eventually(lambda: len(found) >= 60)
    task.cancel()
    assert sorted(event.id for event in found) == [f"e{n:02}" for n in range(60)]
    assert {event.places[0].shard for event in found} == {0, 1, 2, 3}


async def test_tail_from_now_on_shows_nothing_of_before(whole: Context, shards: Shards) -> None:
    for shard in shards.all:
        await put(shard, "messages", "before", now_ms() - 1000)
    events: Any = tail(whole, OPERATOR, "messages")
    task = asyncio.create_task(anext(events))

    async def are_reading() -> bool:
        reading = [client for client in await shards.home.client_list() if client["cmd"].startswith("xread")]
        return len(reading) == 4

    await eventually(are_reading)
    await put(shards.all[3], "messages", "e", now_ms())
    assert (await task).id == "e"
    await events.aclose()


async def test_tail_of_the_past_waits_for_no_shard_that_is_away(
    whole: Context, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, shard in enumerate(shards.all):
        await put(shard, "messages", f"e{number}", now_ms() - 5000)
    is_away, client = True, shards.all[1].client()
    read: Any = client.xread

    async def xread(*arguments: Any) -> Any:
        if is_away:
            raise ConnectionError("away")
        return await read(*arguments)

    monkeypatch.setattr(client, "xread", xread)
    monkeypatch.setattr(shards.all[1], "client", lambda: client)
    events: Any = tail(whole, OPERATOR, "messages", EventQuery(since_ms=now_ms() - 60_000))
    async with asyncio.timeout(20), aclosing(events):
        assert [(await anext(events)).id for _ in range(3)] == ["e0", "e2", "e3"]
        is_away = False
        assert (await anext(events)).id == "e1"
