"""Dead letters and attempts of a relay with four shards: found together, and changed on the shard that has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from relay.core.errors import NotFound
from relay.core.event_filter import EventFilter
from relay.services.deliveries import attempts, dead_letters
from relay.services.deliveries.dead_letters import Choice
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.lanes.lane import Lane
from relay.store.sharding.shards import Shards, open_shards
from tests.cli.attempting import GOOD
from tests.services.conftest import OPERATOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context
    from relay.store.lanes.dead_letters import DeadLetter

COUNT = 3
BOT = "crm-bot"


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
async def whole(context: Context, shards: Shards) -> Context:
    """Three dead letters and three attempts of a subscription on each shard, some at the same moments."""
    for number, shard in enumerate(shards.all):
        await Lane(shard, BOT, "support").ensure()
        for n in range(COUNT):
            event, at = f"e-{number}-{n}", 1000 * n + number // 2
            letter: Any = {"id": event, "type": "message.received", "dead_at": at, "dead_topic": "support"}
            await shard.xadd(shard.key.lane(BOT, "dead"), letter, id=f"{at}-1")
            attempt = GOOD._replace(event_id=event, at_ms=at, topic="support")
            await shard.xadd(shard.key.lane(BOT, "attempts"), {"a": attempt.encode()}, id=f"{at}-1")
            await shard.xadd(shard.key.lane(BOT, "answers"), {"a": f"of {event}"}, id=f"{at}-1")
    return replace(context, redis=shards.home)


async def left(shards: Shards) -> list[int]:
    return [await shard.xlen(shard.key.lane(BOT, "dead")) for shard in shards.all]


async def test_dead_letters_of_all_shards_are_in_one_list(whole: Context) -> None:
    found: list[DeadLetter] = []
    cursor = None
    while True:
        page = await dead_letters.search(whole, OPERATOR, cursor=cursor, limit=5)
        found += page.items
        if (cursor := page.next) is None:
            break
    assert [letter.at for letter in found] == sorted(letter.at for letter in found)
    assert len({letter.record.entry for letter in found}) == len({letter.record.id for letter in found}) == 12
    assert {letter.subscription for letter in found} == {BOT}
    assert [letter async for letter in dead_letters.every(whole, OPERATOR)] == found


async def test_dead_letter_is_found_by_its_id_with_its_attempts(whole: Context) -> None:
    for letter in (await dead_letters.search(whole, OPERATOR)).items:
        found = await dead_letters.get(whole, OPERATOR, BOT, letter.record.entry)
        assert found.letter == letter
        assert [each.attempt.event_id for each in found.attempts] == [letter.record.id]
        assert found.attempts[0].attempt.entry.partition(".")[2] == letter.record.entry.partition(".")[2]
    for missing in ("0-1.7", "0-1.x", "9-9", "0-1.3.1", "0-1.0", "0-1."):
        with pytest.raises(NotFound):
            await dead_letters.get(whole, OPERATOR, BOT, missing)


async def test_chosen_dead_letters_are_replayed_and_dropped_on_their_shards(whole: Context, shards: Shards) -> None:
    letters = {letter.record.id: letter.record.entry for letter in (await dead_letters.search(whole, OPERATOR)).items}
    chosen = Choice(BOT, ids=[letters["e-0-0"], letters["e-2-1"], letters["e-3-2"]])
    assert await dead_letters.replay(whole, OPERATOR, chosen) == {BOT: 3}
    assert await left(shards) == [2, 3, 2, 2]
    assert [await shard.xlen(shard.key.lane(BOT, "replay")) for shard in shards.all] == [1, 0, 1, 1]
    [(_, fields)] = await shards.all[2].xrange(shards.all[2].key.lane(BOT, "replay"))
    assert fields[b"id"] == b"e-2-1"
    assert await dead_letters.drop(whole, OPERATOR, Choice(which=EventFilter(event_ids={"e-1-0"})), "test") == {BOT: 1}
    assert await left(shards) == [2, 2, 2, 2]
    assert await dead_letters.drop(whole, OPERATOR, Choice(), "test") == {BOT: 8}
    assert await left(shards) == [0, 0, 0, 0]


async def test_attempts_of_all_shards_are_in_one_list_with_their_details(whole: Context) -> None:
    page = await attempts.search(whole, OPERATOR, limit=7)
    rest = await attempts.search(whole, OPERATOR, cursor=page.next)
    found = [*page.items, *rest.items]
    assert [each.attempt.at_ms for each in found] == sorted((each.attempt.at_ms for each in found), reverse=True)
    assert len({each.attempt.event_id for each in found}) == 12
    assert all(each.detail == f"of {each.attempt.event_id}" for each in found)
    assert {each.subscription for each in found} == {BOT}
    newest = await attempts.latest(whole, OPERATOR, None, EventFilter(), 4)
    assert {each.attempt.event_id for each in newest} == {f"e-{number}-2" for number in range(4)}
    entries = {f"e-{number}": f"5-0.{number}" if number else "5-0" for number in range(4)}
    for each in (*found, *newest):
        assert each.attempt.entry == entries[each.attempt.event_id[:-2]]
