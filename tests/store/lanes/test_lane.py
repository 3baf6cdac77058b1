from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.lanes.delivery import Ref, Tries
from relay.store.lanes.lane import Lane
from relay.store.lanes.ready import mark_ready, wait_ready
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM = "relay:topic:support"


async def feed(redis: Redis, *ids: str) -> list[Ref]:
    return [Ref(STREAM, (await redis.xadd(STREAM, {"id": i, "body": "{}"})).decode()) for i in ids]


async def test_new_lane_starts_with_future_events(redis: Redis) -> None:
    await feed(redis, "before")
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    await feed(redis, "after")
    assert [delivery.record.id for delivery in await lane.read_new(10)] == ["after"]


async def test_reads_each_delivery_once_with_its_event_and_topic(redis: Redis, lane: Lane) -> None:
    [ref] = await feed(redis, "e1")
    [delivery] = await lane.read_new(10)
    assert (delivery.ref, delivery.record.id, delivery.topic, delivery.is_replay) == (ref, "e1", "support", False)
    assert await lane.read_new(10) == []


async def test_orphans_are_pending_and_do_not_wait_for_a_retry(redis: Redis, lane: Lane) -> None:
    read, waiting = await feed(redis, "e1", "e2")
    await lane.read_new(10)
    await redis.zadd("relay:lane:bot:retries", {str(waiting): 1})
    assert await lane.orphans() == [read]
    assert await lane.in_hand() == 1


async def test_orphans_are_found_over_many_pages(redis: Redis, lane: Lane) -> None:
    refs = await feed(redis, *map(str, range(1201)))
    await lane.read_new(2000)
    assert await lane.orphans() == refs


async def test_due_retries_are_taken_longest_due_first(redis: Redis, lane: Lane) -> None:
    late, early, future = await feed(redis, "late", "early", "future")
    await lane.read_new(10)
    await redis.zadd("relay:lane:bot:retries", {str(late): 20, str(early): 10, str(future): 99})
    await ask(redis.hset("relay:lane:bot:tries", str(early), Tries(3, 7, "failed").encode().decode()))
    assert await lane.next_due() == 10
    taken = await lane.read_due(50, 10)
    assert [(delivery.ref, delivery.tries) for delivery in taken] == [(early, Tries(3, 7, "failed")), (late, Tries())]
    assert await lane.next_due() == 99
    assert await lane.read_due(50, 10) == []
    assert await lane.orphans() == [late, early]  # if the worker dies


async def test_trimmed_entry_is_fetched_empty(redis: Redis, lane: Lane) -> None:
    [ref] = await feed(redis, "e1")
    await redis.xdel(STREAM, ref.entry)
    [delivery] = await lane.fetch([ref])
    assert delivery.fields == {}
    assert await lane.fetch([]) == []


async def test_has_new_detects_unread_entries(redis: Redis, lane: Lane) -> None:
    assert not await lane.has_new()
    await feed(redis, "e1")
    assert await lane.has_new()
    await lane.read_new(10)
    assert not await lane.has_new()
    await redis.xadd("relay:lane:bot:replay", {"id": "e2"})
    assert await lane.has_new()


async def test_lost_group_is_recreated_at_its_checkpoint(redis: Redis, lane: Lane) -> None:
    settled, owed, _unread = await feed(redis, "settled", "owed", "unread")
    await lane.read_new(2)
    await redis.xack(STREAM, lane.group, settled.entry)
    await ask(redis.hincrby("relay:lane:bot", f"settled:{STREAM}", 1))
    await lane.save_checkpoint()
    await redis.zadd("relay:lane:bot:retries", {str(owed): 99})
    await redis.xgroup_destroy(STREAM, lane.group)
    assert [delivery.record.id for delivery in await lane.read_new(10)] == ["owed", "unread"]
    assert await lane.next_due() is None  # it was read again instead


async def test_lane_that_changes_topic_skips_its_history(redis: Redis, lane: Lane) -> None:
    await lane.save_checkpoint()
    await redis.xadd("relay:topic:other", {"id": "history", "body": "{}"})
    moved = Lane(redis, "bot", "other")
    await moved.ensure()
    assert await moved.read_new(10) == []


async def test_marking_a_lane_ready_is_idempotent(redis: Redis) -> None:
    await mark_ready(redis, 3, ["a", "b"], 1)
    await mark_ready(redis, 3, ["b", "a"], 2)
    assert sorted(await wait_ready(redis, 3, 1.0)) == ["a", "b"]
    assert await wait_ready(redis, 3, 0.01) == []


def test_every_lane_has_a_partition() -> None:
    partitions = {wakeups.partition_of(f"team-{number}") for number in range(200)}
    assert partitions == set(range(wakeups.PARTITIONS))
    assert wakeups.partition_of("team-1") == wakeups.partition_of("team-1")


def test_refs_and_tries_are_decoded_unchanged() -> None:
    ref = Ref(KEYS.topic("a.b-c"), "17-4")
    assert Ref.parse(str(ref).encode()) == ref
    assert Tries.decode(Tries(2, 5, "failed").encode()) == Tries(2, 5, "failed")
    assert Tries.decode(None) == Tries()
