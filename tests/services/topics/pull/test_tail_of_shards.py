"""Tails over HTTP of a relay with four shards: each event once, also if a tail begins again after any message."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.core.errors import Invalid
from relay.services.topics.following import position_of, sources_after, sources_at_end, sources_since, take
from relay.services.topics.pull.tail import Tail, Tails, tail
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.places import entry_name
from relay.store.sharding.shards import Shards, open_shards
from relay.store.topics.pull.arrivals import Arrivals
from tests.services.topics.pull.reading import CRM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context

T = 1_789_377_302_000
TOPIC = "support"


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
def whole(context: Context, shards: Shards) -> Context:
    return replace(context, redis=shards.home)


@pytest.fixture
async def tails(shards: Shards) -> AsyncIterator[Tails]:
    async with Arrivals(shards.home) as arrivals:
        yield Tails(arrivals, rate=1e6)


async def feed(shards: Shards, number: int, event_id: str, at_ms: int) -> str:
    shard = shards.all[number]
    fields: Any = {"id": event_id, "type": "message.received", "at": at_ms, "body": "{}"}
    return entry_name((await shard.xadd(shard.key.topic(TOPIC), fields, f"{at_ms}-*")).decode(), number)


async def messages(whole: Context, tails: Tails, wanted: Tail, count: int) -> list[tuple[str, str]]:
    """Return the next events with the position after each."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(10):
        parts: Any = await tail(whole, tails, CRM, wanted)
        while len(found) < count:
            part = await anext(parts)
            tails.arrivals.wake(TOPIC)
            found += zip((record.id for record in part.events), part.positions, strict=True)
        await parts.aclose()
    return found


async def test_tail_begins_again_after_any_message(whole: Context, shards: Shards, tails: Tails) -> None:
    rng, expected = random.Random(3), []
    for n in range(300):
        expected.append(f"e{n}")
        await feed(shards, rng.choice((0, 1, 1, 3)), f"e{n}", T + n // 3)
    found = await messages(whole, tails, Tail(TOPIC, since_ms=T), 300)
    times = [int(event_id[1:]) // 3 for event_id, _ in found]
    assert times == sorted(times)
    assert sorted(event_id for event_id, _ in found) == sorted(expected)
    for at in (0, 1, 99, 100, 150, 298):
        again = await messages(whole, tails, Tail(TOPIC, after=found[at][1]), 299 - at)
        assert [event_id for event_id, _ in again] == [event_id for event_id, _ in found[at + 1 :]]


async def test_tail_misses_no_event_that_another_shard_adds_behind_the_last_one(
    whole: Context, shards: Shards, tails: Tails
) -> None:
    """The clocks of two primaries differ, so an entry may come with an earlier id than one that was seen."""
    await feed(shards, 2, "first", T + 500)
    parts: Any = await tail(whole, tails, CRM, Tail(TOPIC, since_ms=T))
    assert (await anext(parts)).events == ()
    [seen] = (await anext(parts)).positions
    await feed(shards, 1, "late", T + 400)
    [(event_id, _)] = await messages(whole, tails, Tail(TOPIC, after=seen), 1)
    assert event_id == "late"
    await parts.aclose()


async def test_tail_begins_after_a_single_entry(whole: Context, shards: Shards, tails: Tails) -> None:
    entries = [await feed(shards, number, f"e{number}", T) for number in range(4)]
    await feed(shards, 0, "later", T + 1)
    assert entries[2] == f"{T}-0.2"
    found = await messages(whole, tails, Tail(TOPIC, after=entries[2]), 2)
    assert [event_id for event_id, _ in found] == ["e3", "later"]
    found = await messages(whole, tails, Tail(TOPIC, after=entries[0]), 4)  # of a relay that had one shard
    assert [event_id for event_id, _ in found] == ["e1", "e2", "e3", "later"]


async def test_tail_tells_of_events_that_any_shard_trimmed(whole: Context, shards: Shards, tails: Tails) -> None:
    for n in range(8):
        await feed(shards, n % 4, f"e{n}", T + n)
    [(_, after), *_] = await messages(whole, tails, Tail(TOPIC, since_ms=T), 8)
    assert (await anext(await tail(whole, tails, CRM, Tail(TOPIC, after=after)))).has_gap is False
    await shards.home.xtrim(shards.home.key.topic(TOPIC), maxlen=0, approximate=False)
    await feed(shards, 0, "new", T + 99)
    assert (await anext(await tail(whole, tails, CRM, Tail(TOPIC, after=after)))).has_gap is True


async def test_position_of_fewer_shards_takes_all_of_the_new_ones(whole: Context) -> None:
    positions = [source.position for source in sources_after(whole.redis, TOPIC, f"{T + 1}-0,{T}-7.2")]
    assert positions == [f"{T + 1}-0", f"{T}-7", f"{T}-7", f"{T}-7"]
    assert position_of(await sources_at_end(whole.redis, TOPIC)) == "0-0,0-0.1,0-0.2,0-0.3"
    since = sources_since(whole.redis, TOPIC, f"{T}-18446744073709551615")
    assert [source.position for source in sources_after(whole.redis, TOPIC, position_of(since))] == [
        source.position for source in since
    ]


async def test_shard_that_is_away_holds_up_no_other(
    whole: Context, shards: Shards, tails: Tails, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await feed(shards, number, f"e{number}", T)

    async def away(*_: object, **__: object) -> None:
        raise RedisConnectionError("away")

    parts: Any = await tail(whole, tails, CRM, Tail(TOPIC, since_ms=T))
    found: list[str] = []

    async def follow(count: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(found) < count:
                found.extend(record.id for record in (await anext(parts)).events)
                tails.arrivals.wake(TOPIC)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(shards.all[1], "xrange", away)
        assert await follow(3) == ["e0", "e2", "e3"]
        await feed(shards, 3, "e4", T + 1)
        assert await follow(4) == ["e0", "e2", "e3", "e4"]
    assert await follow(5) == ["e0", "e2", "e3", "e4", "e1"]
    for shard in shards.all:
        monkeypatch.setattr(shard, "xrange", away)
    with pytest.raises(RedisConnectionError):
        await follow(6)


@pytest.mark.parametrize("wrong", ["", "x", "1-1.4", "1-1.0", "1-1.01", "1-1,1-2", "1-1,", "1-1.1.1", "1-1,2-2.9"])
async def test_wrong_positions_are_refused(whole: Context, tails: Tails, wrong: str) -> None:
    with pytest.raises(Invalid, match="not the id of an entry"):
        await tail(whole, tails, CRM, Tail(TOPIC, after=wrong))


async def test_next_entry_waits_for_sources_that_may_have_an_earlier_one(whole: Context) -> None:
    first, second, *rest = sources_since(whole.redis, TOPIC, "0-0")
    for source in rest:
        source.add(())
    first.add([(b"5-0", {}), (b"9-0", {})])
    assert list(take([first, second, *rest])) == []
    second.add([(b"%d-0" % n, {}) for n in range(7, 107)])  # a whole page: there may be more
    taken = [(each.shard, each.id) for each in take([first, second, *rest])]
    assert taken[:4] == [(0, b"5-0"), (1, b"7-0"), (1, b"8-0"), (0, b"9-0")]
    assert len(taken) == 102
    assert second.position == "106-0"
