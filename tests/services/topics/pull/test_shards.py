"""A pull group of a relay with four shards: its members see one topic, and what they settle is settled where it is."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Invalid, NotFound, TooMany
from relay.services.topics.pull import batch as batch_module
from relay.services.topics.pull.receive import batches, receive
from relay.services.topics.pull.request import Request
from relay.services.topics.pull.settle import (
    acknowledge,
    acknowledge_runs,
    extend,
    reject,
    release,
    runs_of,
)
from relay.store.isolation import WrongType
from relay.store.keys import GroupName
from relay.store.topics.pull import group as group_module
from relay.store.topics.pull.group import consumer_of
from tests.services.topics.pull.reading import CRM, feed, feed_at, ids, receipts
from tests.support import TIMEOUT, eventually

if TYPE_CHECKING:
    from relay.services.context import Context
    from relay.services.topics.pull.batch import Batch
    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards
    from relay.store.topics.pull.arrivals import Arrivals

GROUP = GroupName("support", "crm")
READ = Request(*GROUP)


async def pending(shards: Shards) -> list[int]:
    """Return the number of events of the group that are not acknowledged, by shard; -1 where it does not exist."""
    return [await pending_on(shard) for shard in shards.all]


async def pending_on(shard: Redis) -> int:
    if not await shard.exists(stream := shard.key.topic("support")):
        return -1
    groups = {row["name"]: row["pending"] for row in await shard.xinfo_groups(stream)}
    return int(groups.get(b"crm", -1))


async def acknowledge_all(context: Context, arrivals: Arrivals, batch: Batch) -> int:
    assert batch.cursor is not None
    runs = runs_of(batch.cursor, "ack")
    return (await acknowledge_runs(context, arrivals, CRM, GROUP, batch.member, runs)).done


async def test_batch_has_the_events_of_all_shards_in_the_order_of_their_ids(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    await feed_at(shards.all[0], a=1000, e=5000)
    await feed_at(shards.all[2], b=2000, c=2001, d=5000)
    await feed_at(shards.all[3], f=4000)
    batch = await receive(whole, whole_arrivals, CRM, READ)
    assert (ids(batch), batch.state, batch.pending) == (["a", "b", "c", "f", "e", "d"], "created", 6)
    assert receipts(batch)[-2:] == ["5000-0.1", "5000-0.2.1"]
    assert sorted(map(str, batch.runs)) == ["1000-0_5000-0.1", "2000-0_5000-0.2.1", "4000-0_4000-0.3.1"]
    assert await acknowledge_all(whole, whole_arrivals, batch) == 6
    assert await pending(shards) == [0, 0, 0, 0]
    assert (await receive(whole, whole_arrivals, CRM, READ)).has_news is False


async def test_cursor_leaves_what_came_with_a_later_batch(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    """A server whose clock is behind gives ids that are less than those of a batch before."""
    await feed_at(shards.all[1], a=9000)
    first = await receive(whole, whole_arrivals, CRM, READ)
    await feed_at(shards.all[0], b=1000)
    second = await receive(whole, whole_arrivals, CRM, READ)
    assert (ids(first), ids(second)) == (["a"], ["b"])
    assert await acknowledge_all(whole, whole_arrivals, first) == 1
    assert await pending(shards) == [1, 0, 0, 0]


async def test_limit_is_that_of_all_shards_and_none_starves(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    await feed(shards.all[1], *(f"busy-{number}" for number in range(300)))
    for number in (0, 2, 3):
        await feed(shards.all[number], f"quiet-{number}")
    batch = await receive(whole, whole_arrivals, CRM, Request(*GROUP, limit=50))
    assert len(batch.events) == 50
    assert {f"quiet-{number}" for number in (0, 2, 3)} < set(ids(batch))
    rest = await receive(whole, whole_arrivals, CRM, Request(*GROUP, limit=1000))
    assert (len(rest.events), rest.pending) == (253, 303)


async def test_single_events_come_from_every_shard(whole: Context, whole_arrivals: Arrivals, shards: Shards) -> None:
    for number, shard in enumerate(shards.all):
        await feed(shard, *(f"{number}-{n}" for n in range(20)))
    found = set()
    for _ in range(80):
        batch = await receive(whole, whole_arrivals, CRM, Request(*GROUP, limit=1))
        assert await pending(shards) >= [0, 0, 0, 0]  # the first one made the group on each
        found |= set(ids(batch))
        assert await acknowledge_all(whole, whole_arrivals, batch) == 1
    assert found == {f"{number}-{n}" for number in range(4) for n in range(20)}


async def test_batch_ends_at_its_size_as_a_whole(whole: Context, whole_arrivals: Arrivals, shards: Shards) -> None:
    for number, shard in enumerate(shards.all):
        await feed(shard, *(f"{number}-{n}" for n in range(25)), body="x" * 100_000)
    batch = await receive(whole, whole_arrivals, CRM, READ)
    assert 40 <= len(batch.events) < 80
    rest = await receive(whole, whole_arrivals, CRM, READ)
    assert {*ids(batch), *ids(rest)} >= {f"{number}-0" for number in range(4)}


async def test_events_are_settled_on_their_shards(whole: Context, whole_arrivals: Arrivals, shards: Shards) -> None:
    for number, shard in enumerate(shards.all):
        await feed_at(shard, **{f"{name}{number}": 1000 + n for n, name in enumerate("abcd")})
    batch = await receive(whole, whole_arrivals, CRM, READ)
    given = {event.record.id: str(event.receipt) for event in batch.events}
    wrong = ["1000-0.9.1", "1000-0.40.1", "1-1.2.1"]

    handled = [given["a0"], given["a2"], given["a3"], *wrong]
    assert (await acknowledge(whole, whole_arrivals, CRM, GROUP, handled)).done == 3
    assert await pending(shards) == [3, 4, 3, 3]
    extended = await extend(whole, CRM, GROUP, [given["b1"], given["a2"], given["b2"], *wrong], 600)
    assert (extended.done, extended.not_done) == (2, [given["a2"], *wrong])
    rejected = await reject(whole, CRM, GROUP, [given["c3"], given["c0"], *wrong], "no customer")
    assert (rejected.done, rejected.not_done) == (2, wrong)
    assert [await shard.xlen(shard.key.group_dead(*GROUP)) for shard in shards.all] == [1, 0, 0, 1]
    released = await release(whole, whole_arrivals, CRM, GROUP, [given["d2"], given["d1"], given["c0"], *wrong])
    assert (released.done, released.not_done) == (2, [given["c0"], *wrong])
    again = await receive(whole, whole_arrivals, CRM, Request(*GROUP, member="other"))
    assert [(event.record.id, event.deliveries) for event in again.events] == [("d1", 2), ("d2", 2)]
    for text in ("1-1.0.1", "1-1.x.1", "1-1", "1-1.1.1.1", "1-1.100.1"):
        with pytest.raises(Invalid):
            await acknowledge(whole, whole_arrivals, CRM, GROUP, [text])


async def test_worn_out_events_of_each_shard_are_told(whole: Context, whole_arrivals: Arrivals, shards: Shards) -> None:
    for number, shard in enumerate(shards.all):
        await feed(shard, f"e{number}")
    for _ in range(2):
        batch = await receive(whole, whole_arrivals, CRM, Request(*GROUP, max_deliveries=2))
        await release(whole, whole_arrivals, CRM, GROUP, receipts(batch))
    last = await receive(whole, whole_arrivals, CRM, Request(*GROUP, max_deliveries=2))
    assert (last.events, last.dead, last.pending) == ([], 4, 0)


async def test_long_poll_waits_for_all_shards_with_one_connection_to_each(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    for shard in shards.all:
        polls = [
            asyncio.create_task(receive(whole, whole_arrivals, CRM, Request("support", f"crm.{number}", wait=20)))
            for number in range(20)
        ]
        await eventually(partial(waiting, shard, 20))
        await eventually(partial(blocked_few, shard))
        await feed(shard, "a")
        assert all(ids(batch) == ["a"] for batch in await asyncio.gather(*polls))


async def waiting(shard: Redis, count: int) -> bool:
    stream = shard.key.topic("support")
    return bool(await shard.exists(stream)) and len(await shard.xinfo_groups(stream)) == count


async def blocked_few(redis: Redis) -> bool:
    """Return True if connections are blocked in Redis, and no more than there are shards."""
    blocked = sum("b" in client["flags"] for client in await redis.client_list())
    return bool(0 < blocked <= 4)


async def test_stream_holds_no_more_than_its_member_may_on_all_shards(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    for number, shard in enumerate(shards.all):
        await feed(shard, *(f"{number}-{n}" for n in range(10 if number else 40)))
    stream = batches(whole, whole_arrivals, CRM, Request(*GROUP, limit=1000, held=6))
    found: list[str] = []
    while len(found) < 70:
        batch = await asyncio.wait_for(anext(stream), TIMEOUT)
        found += ids(batch)
        assert sum(await pending(shards)) <= 6
        assert (await acknowledge(whole, whole_arrivals, CRM, GROUP, receipts(batch))).done == len(batch.events)
    assert len(set(found)) == 70


async def test_stream_that_connects_again_counts_what_its_member_holds(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    await feed(shards.all[1], *(f"e{n}" for n in range(5)))
    first = await anext(batches(whole, whole_arrivals, CRM, Request(*GROUP, held=4)))
    assert len(first.events) == 4
    for shard in shards.all:
        await feed(shard, "later")
    following = asyncio.ensure_future(anext(batches(whole, whole_arrivals, CRM, Request(*GROUP, held=4))))
    await asyncio.sleep(0)
    await acknowledge(whole, whole_arrivals, CRM, GROUP, receipts(first)[:1])
    assert len((await asyncio.wait_for(following, TIMEOUT)).events) == 1
    assert sum(await pending(shards)) == 4


async def test_new_group_begins_at_the_same_place_on_all_shards(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    for number, shard in enumerate(shards.all):
        await feed_at(shard, **{f"old{number}": 1000, f"new{number}": 2000})
    for start, group in (("$", "crm.next"), ("1000-0.2", "crm.entry"), ("1789377302417", "crm.time")):
        request = Request("support", group, start=start, limit=1)
        expected = [] if group != "crm.entry" else ["new0", "new1", "new2", "new3"]
        found = [each for _ in range(5) for each in ids(await receive(whole, whole_arrivals, CRM, request))]
        assert sorted(found) == expected
    for number, shard in enumerate(shards.all):
        await feed(shard, f"later{number}")
    batch = await receive(whole, whole_arrivals, CRM, Request("support", "crm.next"))
    assert sorted(ids(batch)) == [f"later{number}" for number in range(4)]


async def test_group_that_is_missing_on_a_shard_goes_on_where_the_others_are(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    for shard in shards.all:
        await feed_at(shard, old=1000)
    request = Request(*GROUP, start="$")
    assert (await receive(whole, whole_arrivals, CRM, request)).state == "created"
    lost = shards.all[2]
    await lost.xgroup_destroy(lost.key.topic("support"), "crm")
    await lost.delete(lost.key.places("support"))
    await feed_at(lost, new=2000)
    batch = await receive(whole, whole_arrivals, CRM, request)
    assert (ids(batch), batch.state) == (["new"], "joined")


async def test_group_that_is_lost_on_one_shard_resumes_there(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    for number, shard in enumerate(shards.all):
        await feed(shard, f"a{number}", f"b{number}")
    batch = await receive(whole, whole_arrivals, CRM, READ)
    lost = shards.all[3]
    await lost.xgroup_destroy(lost.key.topic("support"), "crm")
    assert (await acknowledge(whole, whole_arrivals, CRM, GROUP, receipts(batch))).done == 6
    again = await receive(whole, whole_arrivals, CRM, READ)
    assert (ids(again), again.state) == (["a3", "b3"], "restored")
    for shard in shards.all:
        await shard.xgroup_destroy(shard.key.topic("support"), "crm")
    with pytest.raises(NotFound, match="the next receive makes it"):
        await acknowledge(whole, whole_arrivals, CRM, GROUP, receipts(again))


async def test_killed_readers_events_of_all_shards_come_to_the_next(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    for number, shard in enumerate(shards.all):
        await feed(shard, f"e{number}")
    killed = await receive(whole, whole_arrivals, CRM, Request(*GROUP, member="one", visibility=1))
    following = Request(*GROUP, member="two", wait=20)
    found: list[str] = []
    while len(found) < 4:
        batch = await receive(whole, whole_arrivals, CRM, following)
        assert {event.deliveries for event in batch.events} == {2}
        found += ids(batch)
    assert sorted(found) == sorted(ids(killed))
    holders = [await shard.xinfo_consumers(shard.key.topic("support"), "crm") for shard in shards.all]
    assert all(consumer_of("two", 60).encode() in {row["name"] for row in rows} for rows in holders)


async def test_shard_with_too_many_members_keeps_no_events_of_the_others(
    whole: Context, whole_arrivals: Arrivals, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "MAX_MEMBERS", 1)
    for shard in shards.all[1:]:
        await feed(shard, "held")
    await receive(whole, whole_arrivals, CRM, Request(*GROUP, member="one"))
    await feed(shards.all[0], "a")
    other = Request(*GROUP, member="two")
    assert ids(await receive(whole, whole_arrivals, CRM, other)) == ["a"]
    with pytest.raises(TooMany, match="has 1 members already"):
        await receive(whole, whole_arrivals, CRM, other)


async def test_overwritten_key_of_a_shard_keeps_no_events_of_the_others(
    whole: Context, whole_arrivals: Arrivals, shards: Shards
) -> None:
    await receive(whole, whole_arrivals, CRM, READ)
    broken = shards.all[2]
    await broken.set(broken.key.group_dead(*GROUP), "of a wrong type")
    await feed(shards.all[1], "a")
    assert ids(await receive(whole, whole_arrivals, CRM, Request(*GROUP, wait=5))) == ["a"]
    with pytest.raises(WrongType):
        await receive(whole, whole_arrivals, CRM, Request(*GROUP, wait=5))


async def test_full_shard_is_told_when_there_is_nothing_else(
    whole: Context, whole_arrivals: Arrivals, shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (group_module, batch_module):
        monkeypatch.setattr(module, "MAX_PENDING", 3)
    await feed(shards.all[1], *(f"e{number}" for number in range(5)))
    batch = await receive(whole, whole_arrivals, CRM, READ)
    assert ids(batch) == ["e0", "e1", "e2"]
    await feed(shards.all[3], "other")
    assert ids(await receive(whole, whole_arrivals, CRM, Request(*GROUP, member="two", wait=5))) == ["other"]
    with pytest.raises(TooMany, match="4 events of the group"):
        await receive(whole, whole_arrivals, CRM, Request(*GROUP, member="two", wait=5))
    await acknowledge(whole, whole_arrivals, CRM, GROUP, receipts(batch))
    assert ids(await receive(whole, whole_arrivals, CRM, Request(*GROUP, member="two", wait=5))) == ["e3", "e4"]
