from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.consumer import consume
from relay.core.errors import TooMany
from relay.store.isolation import WrongType
from relay.store.keys import GroupName
from relay.store.topics.pull import group as group_module
from relay.store.topics.pull.dead_letters import GroupLetters
from relay.store.topics.pull.group import MAX_PENDING, Limits, Page, PullGroup, Receipt, Run, consumer_of
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.driver.client import Redis

STREAM = KEYS.topic("support")
ALICE, BOB = consumer_of("alice", 30), consumer_of("bob", 600)


async def feed(redis: Redis, *ids: str, body: str = "{}") -> None:
    for event_id in ids:
        await redis.xadd(STREAM, {"id": event_id, "type": "x", "at": "1", "body": body})


async def age(redis: Redis, page: Page, consumer: str, seconds: float, group: str = "crm") -> None:
    """Let time pass for the events that `consumer` holds."""
    entries: Any = [event.record.entry for event in page.events]
    await redis.xclaim(STREAM, group, consumer, 0, entries, idle=round(seconds * 1000), justid=True)


@pytest.fixture
def group(redis: Redis) -> PullGroup:
    return PullGroup(redis, "support", "crm")


async def receive(group: PullGroup, consumer: str = ALICE, count: int = 100) -> Page:
    return await group.receive(consumer, Limits(count), start="0")


def ids(page: Page) -> list[str]:
    return [event.record.id for event in page.events]


def receipts(page: Page) -> Sequence[Receipt]:
    return [event.receipt for event in page.events]


async def test_new_group_gets_what_is_kept_and_members_share_it(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b", "c")
    first = await receive(group, count=2)
    assert (first.state, ids(first), first.pending) == ("created", ["a", "b"], 2)
    second = await receive(group, BOB)
    assert (second.state, ids(second), second.pending) == ("joined", ["c"], 3)
    assert await group.acknowledge([event.record.entry for event in (*first.events, *second.events)]) == 3
    assert (await receive(group)).events == []


async def test_each_holders_own_timeout_decides_and_order_is_kept(redis: Redis, group: PullGroup) -> None:
    await feed(redis, *(f"e{number:02}" for number in range(40)))
    slow = await receive(group, BOB, count=20)
    quick = await receive(group, ALICE, count=10)
    await age(redis, slow, BOB, 31)
    await age(redis, quick, ALICE, 31)
    again = await receive(group, consumer_of("carol", 5), count=15)
    assert ids(again) == [f"e{number:02}" for number in (*range(20, 30), *range(30, 35))]
    assert [event.deliveries for event in again.events] == [2] * 10 + [1] * 5
    await age(redis, slow, BOB, 601)
    assert ids(await receive(group, ALICE)) == [f"e{number:02}" for number in (*range(20), *range(35, 40))]


async def test_acknowledgement_up_to_an_event_is_of_one_member(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b", "c", "d")
    [one] = (await receive(group, ALICE, count=1)).events
    await receive(group, BOB, count=1)
    [three] = (await receive(group, consumer_of("alice", 60), count=1)).events
    assert await group.acknowledge_runs("alice", [Run(three.receipt)]) == 2
    assert one.record.id == "a"
    assert [row["name"] for row in await redis.xinfo_consumers(STREAM, "crm") if row["pending"]] == [BOB.encode()]


async def test_extended_event_expires_later_and_not_at_a_second_holder(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b")
    page = await receive(group)
    assert await group.extend(receipts(page)[:1], 3600) == [page.events[0].record.entry]
    await age(redis, Page("", 0, 0, 0, page.events[1:]), ALICE, 31)
    await age(redis, Page("", 0, 0, 0, page.events[:1]), consumer_of("alice", 3600), 31)
    taken = await receive(group, BOB)
    assert ids(taken) == ["b"]
    assert await group.extend(receipts(page)[1:], 3600) == []  # it is bob's now
    assert await group.release(receipts(page)[1:]) == []
    assert len(await group.extend(receipts(taken), 3600) or ()) == 1


async def test_released_events_are_delivered_next_by_either_reader(
    redis: Redis, redis_url: str, group: PullGroup
) -> None:
    await feed(redis, "a", "b", "c")
    page = await receive(group, count=2)
    assert len(await group.release(receipts(page)) or ()) == 2
    assert ids(await receive(group, BOB, count=1)) == ["a"]
    async with consume(redis_url, topic="support", group="crm") as events:
        assert [(await anext(events)).id, (await anext(events)).id] == ["b", "c"]
    assert ids(await receive(group)) == []


async def test_events_of_a_consumer_at_redis_expire_after_its_default(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a")
    await redis.xgroup_create(STREAM, "crm", "0")
    await redis.xreadgroup("crm", "host-1", {STREAM: ">"})
    assert (await receive(group)).events == []
    [(entry, _)] = await redis.xrange(STREAM)
    await redis.xclaim(STREAM, "crm", "host-1", 0, [entry], idle=301_000, justid=True)
    assert ids(await receive(group)) == ["a"]


async def test_lost_group_resumes_before_its_oldest_pending_event(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b", "c", "d", "e")
    page = await receive(group, count=4)
    await group.acknowledge([page.events[0].record.entry, page.events[2].record.entry])
    await redis.xgroup_destroy(STREAM, "crm")
    again = await receive(group)
    assert (again.state, ids(again), again.missed) == ("restored", ["b", "c", "d", "e"], 0)
    await group.acknowledge([event.record.entry for event in again.events])
    await redis.xgroup_destroy(STREAM, "crm")
    assert (await receive(group)).events == []
    await GroupLetters(redis).delete_group(GroupName("support", "crm"), with_letters=False)
    assert ids(await receive(group)) == ["a", "b", "c", "d", "e"]


async def test_no_group_is_told_by_everything_but_receive(group: PullGroup) -> None:
    assert await group.acknowledge(["1-0"]) is None
    assert await group.acknowledge_runs("alice", [Run(Receipt("1-0", 1))]) is None
    assert await group.extend([Receipt("1-0", 1)], 3) is None
    assert await group.release([Receipt("1-0", 1)]) is None


async def test_trimmed_events_are_counted_once(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b", "c", "d", "e", "f")
    page = await receive(group, count=2)
    await age(redis, page, ALICE, 31)
    await redis.xtrim(STREAM, maxlen=1, approximate=False)
    again = await receive(group)
    assert (ids(again), again.trimmed, again.missed, again.pending) == (["f"], 2, 3, 1)
    assert (await receive(group)).missed == 0
    await feed(redis, "g")
    await redis.xtrim(STREAM, maxlen=0, approximate=False)
    assert [(await receive(group)).missed, (await receive(group)).missed] == [1, 0]


async def test_new_group_of_a_trimmed_topic_has_missed_nothing(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b")
    await redis.xtrim(STREAM, maxlen=1, approximate=False)
    page = await receive(group)
    assert (ids(page), page.missed) == (["b"], 0)


async def test_batch_ends_soon_after_its_limit_of_bytes(redis: Redis, group: PullGroup) -> None:
    await feed(redis, *map(str, range(40)), body="x" * 1000)
    page = await group.receive(ALICE, Limits(100, 10_000), start="0")
    assert len(page.events) == 10
    assert len((await group.receive(ALICE, Limits(100, 20_000), start="0")).events) == 20


async def test_group_at_its_limit_of_pending_events_gets_no_new_ones(redis: Redis, group: PullGroup) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(MAX_PENDING + 1):
            pipe.xadd(STREAM, {"id": "x", "body": ""})
        await pipe.execute()
    await redis.xgroup_create(STREAM, "crm", "0")
    await redis.xreadgroup("crm", ALICE, {STREAM: ">"}, count=MAX_PENDING - 3)
    page = await receive(group, BOB)
    assert (len(page.events), page.pending) == (3, MAX_PENDING)
    assert (await receive(group, BOB)).events == []
    await group.acknowledge([event.record.entry for event in page.events])
    assert len((await receive(group, BOB)).events) == 1


async def test_unused_consumers_are_deleted_and_holders_stay(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a")
    await receive(group, ALICE)
    for unused in (BOB, "host-1"):
        await redis.xgroup_createconsumer(STREAM, "crm", unused)

    async def left(unused: float) -> set[str]:
        await group.receive(ALICE, Limits(1), start="0", unused=unused)
        return {row["name"].decode() for row in await redis.xinfo_consumers(STREAM, "crm")}

    assert await left(60) == {ALICE, BOB, "host-1"}

    async def is_gone() -> bool:
        return BOB not in await left(0.001)

    await eventually(is_gone)
    assert await left(0.001) == {ALICE, "host-1"}


async def test_member_holds_no_more_than_its_limit_until_they_expire(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a", "b", "c", "d")
    limits = Limits(100, held=3)
    page = await group.receive(ALICE, limits, start="0")
    assert (ids(page), (await group.receive(ALICE, limits, start="0")).events) == (["a", "b", "c"], [])
    await group.acknowledge([page.events[1].record.entry])
    assert ids(await group.receive(ALICE, limits, start="0")) == ["d"]
    await age(redis, Page("", 0, 0, 0, page.events[::2]), ALICE, 31)
    assert ids(await group.receive(ALICE, limits, start="0")) == ["a", "c"]


@pytest.mark.parametrize("key", [STREAM, KEYS.places("support")])
async def test_overwritten_key_is_an_error_and_nothing_is_delivered(redis: Redis, group: PullGroup, key: str) -> None:
    await redis.set(key, "?")
    with pytest.raises(WrongType):
        await receive(group)


async def test_an_owner_has_a_bounded_number_of_groups(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_module, "MAX_GROUPS", 2)
    for name in ("crm", "crm.a", "other", "crmx"):
        assert (await receive(PullGroup(redis, "support", name))).state == "created"
    with pytest.raises(TooMany, match='2 groups of "crm"'):
        await receive(PullGroup(redis, "support", "crm.b"))
    assert (await receive(PullGroup(redis, "support", "crm.a"))).state == "joined"
    assert len(await redis.xinfo_groups(STREAM)) == 4


async def test_a_group_has_a_bounded_number_of_members(
    redis: Redis, group: PullGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "MAX_MEMBERS", 2)
    await feed(redis, "a", "b")
    await receive(group, ALICE, 1)
    await receive(group, BOB, 1)
    with pytest.raises(TooMany, match="2 members"):
        await receive(group, consumer_of("carol", 60))
    assert (await receive(group, BOB)).state == "joined"
