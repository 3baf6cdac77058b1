"""Answers that get lost on their way to a member: their events come again, whatever it acknowledges by cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.services.topics.pull import batch as batch_module
from relay.services.topics.pull.receive import receive
from relay.services.topics.pull.request import Request
from relay.services.topics.pull.settle import acknowledge_runs, extend, release, runs_of
from relay.store.keys import GroupName
from relay.store.topics.pull.group import consumer_of
from tests.services.topics.pull.reading import CRM, feed, ids, receipts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.services.context import Context
    from relay.services.topics.pull.batch import Batch
    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards
    from relay.store.topics.pull.arrivals import Arrivals

GROUP = GroupName("support", "crm")
READ = Request(*GROUP, limit=1000)
HTTP = consumer_of("http", 60)


async def acknowledge(context: Context, arrivals: Arrivals, cursor: str | None) -> int:
    assert cursor is not None
    return (await acknowledge_runs(context, arrivals, CRM, GROUP, "http", runs_of(cursor, "ack"))).done


async def expire(redis: Redis, batch: Batch, consumer: str = HTTP, chosen: slice = slice(None)) -> None:
    """Let the visibility timeout of events pass that `consumer` holds."""
    entries: Any = [event.record.entry for event in batch.events][chosen]
    await redis.xclaim(redis.key.topic("support"), "crm", consumer, 0, entries, idle=61_000, justid=True)


async def pending(redis: Redis) -> Sequence[str]:
    rows = await redis.xpending_range(redis.key.topic("support"), "crm", "-", "+", 10_000)
    return [row["message_id"].decode() for row in rows]


async def test_cursor_leaves_the_events_of_a_lost_answer(context: Context, arrivals: Arrivals) -> None:
    [a] = await feed(context.redis, "a")
    await receive(context, arrivals, CRM, READ)  # lost
    await feed(context.redis, "b")
    second = await receive(context, arrivals, CRM, READ)
    assert ids(second) == ["b"]
    assert await acknowledge(context, arrivals, second.cursor) == 1
    assert await pending(context.redis) == [a]


async def test_receipt_in_place_of_a_cursor_is_all_up_to_it(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a")
    await receive(context, arrivals, CRM, READ)
    await feed(context.redis, "b")
    second = await receive(context, arrivals, CRM, READ)
    assert await acknowledge(context, arrivals, receipts(second)[-1]) == 2


async def test_cursor_of_four_shards_leaves_the_events_of_a_lost_answer(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    lost = [(await feed(shard, f"a{number}"))[0] for number, shard in enumerate(shards.all)]
    assert len(ids(await receive(whole, whole_arrivals, CRM, READ))) == 4
    for number, shard in enumerate(shards.all):
        await feed(shard, *(f"b{number}-{n}" for n in range(600 if number == 2 else 3)))
    second = await receive(whole, whole_arrivals, CRM, READ)
    assert (len(second.events), len(second.runs)) == (609, 4)
    assert await acknowledge(whole, whole_arrivals, second.cursor) == 609
    assert [await pending(shard) for shard in shards.all] == [[entry] for entry in lost]


async def test_acknowledging_again_leaves_older_events_that_came_with_a_lost_answer(
    context: Context, arrivals: Arrivals
) -> None:
    """A client repeats a request whose answer it did not get, with the same cursor."""
    [a] = await feed(context.redis, "a")
    first = await receive(context, arrivals, CRM, READ)  # lost
    await feed(context.redis, "b")
    second = await receive(context, arrivals, CRM, READ)
    await expire(context.redis, first)
    assert await acknowledge(context, arrivals, second.cursor) == 1
    assert ids(await receive(context, arrivals, CRM, READ)) == ["a"]  # lost, too
    assert await acknowledge(context, arrivals, second.cursor) == 0
    assert await pending(context.redis) == [a]


async def test_released_event_that_came_again_with_a_lost_answer_is_left(context: Context, arrivals: Arrivals) -> None:
    _, b, _ = await feed(context.redis, "a", "b", "c")
    first = await receive(context, arrivals, CRM, READ)
    await release(context, arrivals, CRM, GROUP, receipts(first)[1:2])
    assert ids(await receive(context, arrivals, CRM, READ)) == ["b"]  # lost
    assert await acknowledge(context, arrivals, first.cursor) == 2
    assert await pending(context.redis) == [b]


async def test_extended_events_are_acknowledged_by_the_cursor(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, "a", "b", "c")
    batch = await receive(context, arrivals, CRM, READ)
    assert (await extend(context, CRM, GROUP, receipts(batch)[:2], 3600)).done == 2
    assert await acknowledge(context, arrivals, batch.cursor) == 3


async def test_events_that_come_again_are_acknowledged_without_those_between(
    context: Context, arrivals: Arrivals
) -> None:
    entries = await feed(context.redis, *(f"e{number}" for number in range(10)))
    lost = await receive(context, arrivals, CRM, READ)
    for part in (slice(0, 3), slice(5, 6), slice(9, 10)):
        await expire(context.redis, lost, chosen=part)
    await feed(context.redis, "new")
    again = await receive(context, arrivals, CRM, READ)
    assert ids(again) == ["e0", "e1", "e2", "e5", "e9", "new"]
    await expire(context.redis, lost, chosen=slice(3, 5))
    assert ids(await receive(context, arrivals, CRM, READ)) == ["e3", "e4"]  # lost
    assert await acknowledge(context, arrivals, again.cursor) == 6
    assert await pending(context.redis) == [*entries[3:5], *entries[6:9]]


async def test_few_events_among_many_come_again_together(context: Context, arrivals: Arrivals) -> None:
    entries = await feed(context.redis, *(f"e{number}" for number in range(1000)))
    lost = await receive(context, arrivals, CRM, READ)
    await expire(context.redis, lost, chosen=slice(0, 700, 100))
    await expire(context.redis, lost, chosen=slice(800, 1000))
    await feed(context.redis, "new")
    again = await receive(context, arrivals, CRM, READ)
    wanted = [*range(0, 700, 100), *range(800, 1000)]
    assert ids(again) == [*(f"e{number}" for number in wanted), "new"]
    assert len(again.runs) == 9
    assert await acknowledge(context, arrivals, again.cursor) == 208
    assert await pending(context.redis) == [entry for number, entry in enumerate(entries) if number not in wanted]


async def test_large_batches_are_acknowledged_over_their_pages(context: Context, arrivals: Arrivals) -> None:
    entries = await feed(context.redis, *(f"e{number}" for number in range(2500)))
    lost = await receive(context, arrivals, CRM, READ)
    second = await receive(context, arrivals, CRM, READ)
    assert len(second.runs) == 1
    assert await acknowledge(context, arrivals, second.cursor) == 1000
    await expire(context.redis, lost)
    again = await receive(context, arrivals, CRM, READ)
    assert ids(again) == ids(lost)
    rest = await receive(context, arrivals, CRM, READ)
    assert await acknowledge(context, arrivals, again.cursor) == 1000
    assert await pending(context.redis) == entries[2000:]
    assert await acknowledge(context, arrivals, rest.cursor) == 500


async def test_receipt_acknowledges_over_several_pages(context: Context, arrivals: Arrivals) -> None:
    await feed(context.redis, *(f"e{number}" for number in range(2100)))
    last = [await receive(context, arrivals, CRM, READ) for _ in range(3)][-1]
    assert await acknowledge(context, arrivals, receipts(last)[-1]) == 2100


@pytest.mark.parametrize("most", [6, batch_module.RUNS])
async def test_cursor_is_bounded_when_every_second_event_comes_again(
    context: Context, arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(batch_module, "RUNS", most)
    entries = await feed(context.redis, *(f"e{number}" for number in range(400)))
    lost = await receive(context, arrivals, CRM, READ)
    await expire(context.redis, lost, chosen=slice(0, 400, 2))
    await feed(context.redis, "new")
    found: list[str] = []
    while len(found) < 201:
        batch = await receive(context, arrivals, CRM, READ)
        assert 0 < len(batch.runs) <= most
        assert len(batch.cursor or "") < 6000
        found += ids(batch)
        assert await acknowledge(context, arrivals, batch.cursor) == len(batch.events)
    assert found == [*(f"e{number}" for number in range(0, 400, 2)), "new"]
    assert await pending(context.redis) == entries[1::2]
