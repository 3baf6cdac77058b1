"""Dead letters of pull groups: how members over HTTP make them, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.consumer import consume
from relay.core.config.topics import DeadBounds
from relay.core.event_filter import EventFilter
from relay.store.keys import GroupName
from relay.store.topics.pull.dead_letters import GroupCounts, GroupLetters, TrimmedLetters
from relay.store.topics.pull.group import Limits, Page, PullGroup, Receipt, consumer_of
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

STREAM, DEAD, PLACES = KEYS.topic("support"), KEYS.group_dead("support", "crm"), KEYS.places("support")
ALICE, BOB = consumer_of("alice", 1), consumer_of("bob", 1)
CRM = GroupName("support", "crm")


@pytest.fixture
def group(redis: Redis) -> PullGroup:
    return PullGroup(redis, "support", "crm")


@pytest.fixture
def letters(redis: Redis) -> GroupLetters:
    return GroupLetters(redis)


async def feed(redis: Redis, *ids: str) -> list[str]:
    return [
        (await redis.xadd(STREAM, {"id": name, "type": "message.received", "at": "7", "body": "{}"})).decode()
        for name in ids
    ]


async def receive(group: PullGroup, consumer: str = ALICE, most: int = 2) -> Page:
    return await group.receive(consumer, Limits(100, deliveries=most), start="0")


def ids(page: Page) -> list[tuple[str, int]]:
    return [(event.record.id, event.deliveries) for event in page.events]


async def expire(redis: Redis, *entries: str, consumer: str = ALICE) -> None:
    await redis.xclaim(STREAM, "crm", consumer, 0, list(entries), idle=2000, justid=True)


async def test_event_delivered_as_often_as_may_be_becomes_a_letter(
    redis: Redis, group: PullGroup, letters: GroupLetters
) -> None:
    a, b = await feed(redis, "a", "b")
    for deliveries in (1, 2):
        assert ids(await receive(group))[0] == ("a", deliveries)
        await group.acknowledge([b])
        await expire(redis, a)
    page = await receive(group, BOB)
    assert (ids(page), page.dead, page.trimmed, page.pending) == ([], 1, 0, 0)
    [letter] = [each async for each in letters.of(CRM)]
    assert (letter.record.id, letter.record.type, letter.record.at, letter.record.body) == (
        *("a", "message.received", 7, b"{}"),
    )
    assert (letter.entry, letter.reason, letter.error, letter.deliveries, letter.member) == (
        *(a, "max_deliveries", "", 2, "alice"),
    )
    assert [each async for each in letters.of(CRM, EventFilter(reason="reject"))] == []


async def test_without_a_limit_an_event_comes_again_for_ever(redis: Redis, group: PullGroup) -> None:
    [a] = await feed(redis, "a")
    for deliveries in range(1, 15):
        assert ids(await receive(group, most=0)) == [("a", deliveries)]
        await expire(redis, a)


async def test_trimmed_event_becomes_no_letter(redis: Redis, group: PullGroup) -> None:
    entries = await feed(redis, "a", "b")
    for _ in range(2):
        page = await receive(group)
        await expire(redis, *entries)
    await redis.xdel(STREAM, entries[0])
    page = await receive(group)
    assert (ids(page), page.dead, page.trimmed, await redis.xlen(DEAD)) == ([], 1, 1, 1)


async def test_only_the_member_that_has_an_event_can_reject_it(
    redis: Redis, group: PullGroup, letters: GroupLetters
) -> None:
    a, b = await feed(redis, "a", "b")
    first = await receive(group)
    await expire(redis, a)
    await receive(group, BOB)
    receipts = [event.receipt for event in first.events]
    assert await group.reject(receipts, "no such customer " * 100) == [b]
    [letter] = [each async for each in letters.of(CRM)]
    assert (letter.record.id, letter.reason, len(letter.error), letter.member) == ("b", "rejected", 500, "alice")
    assert await PullGroup(redis, "support", "other").reject([Receipt(a, 1)], "") is None


async def test_event_that_was_not_begun_counts_no_delivery(redis: Redis, group: PullGroup) -> None:
    await feed(redis, "a")
    for _ in range(5):
        page = await receive(group)
        assert ids(page) == [("a", 1)]
        assert len(await group.release([page.events[0].receipt], counts=False) or ()) == 1
    for deliveries in (1, 2):
        page = await receive(group)
        assert ids(page) == [("a", deliveries)]
        await group.release([page.events[0].receipt])
    assert (await receive(group)).dead == 1


async def reject_all(group: PullGroup) -> list[str]:
    page = await receive(group)
    return await group.reject([event.receipt for event in page.events], "") or []


async def test_replay_gives_the_event_back_to_its_group_only(
    redis: Redis, redis_url: str, group: PullGroup, letters: GroupLetters
) -> None:
    entries = await feed(redis, "a", "b", "c")
    other = PullGroup(redis, "support", "other")
    await other.acknowledge([event.record.entry for event in (await receive(other)).events])
    assert await reject_all(group) == entries
    await redis.xdel(STREAM, entries[2])
    dead = [each.record.entry async for each in letters.of(CRM)]
    assert await letters.replay(CRM, [*dead, "1-1"]) == (2, [dead[2]])
    assert await redis.hget(PLACES, "crm") < entries[0].encode()  # type: ignore[misc]
    [row] = await redis.xpending_range(STREAM, "crm", "-", "+", 1)
    assert (row["consumer"], row["times_delivered"]) == (b"relay:returned", 0)
    assert ids(await receive(other)) == []
    assert ids(await group.receive(ALICE, Limits(1), start="0")) == [("a", 1)]
    async with consume(redis_url, topic="support", group="crm") as events:
        assert (await anext(events)).id == "b"
    assert await letters.known() == {CRM: GroupCounts(replayed=2)}
    assert await letters.numbers([CRM]) == {CRM: 1}


async def test_replay_leaves_alone_what_the_group_reads_or_has(
    redis: Redis, group: PullGroup, letters: GroupLetters
) -> None:
    a, _ = await feed(redis, "a", "b")
    await reject_all(group)
    await redis.xgroup_setid(STREAM, "crm", "0")
    await group.receive(BOB, Limits(1), start="0")  # a is read again, and b will be
    dead = [each.record.entry async for each in letters.of(CRM)]
    assert await letters.replay(CRM, dead) == (2, [])
    rows = await redis.xpending_range(STREAM, "crm", "-", "+", 9)
    assert [(row["message_id"].decode(), row["consumer"].decode()) for row in rows] == [(a, BOB)]
    assert ids(await receive(group, ALICE)) == [("b", 1)]


async def test_group_that_is_gone_gets_nothing_back(redis: Redis, group: PullGroup, letters: GroupLetters) -> None:
    await feed(redis, "a")
    await reject_all(group)
    assert await letters.delete_group(CRM, with_letters=False) == 0
    assert await letters.delete_group(CRM, with_letters=False) is None
    assert await letters.known() == {CRM: GroupCounts()}
    [letter] = [each async for each in letters.of(CRM)]
    assert await letters.replay(CRM, [letter.record.entry]) is None
    assert await letters.drop(CRM, [letter.record.entry, "1-1"]) == 1
    assert await letters.known() == {CRM: GroupCounts(dropped=1)}


async def test_group_can_be_deleted_with_its_letters(redis: Redis, group: PullGroup, letters: GroupLetters) -> None:
    await feed(redis, "a", "b")
    await reject_all(group)
    assert await letters.delete_group(CRM, with_letters=True) == 2
    assert [await redis.exists(DEAD), await redis.hlen(PLACES), await letters.known()] == [0, 0, {}]  # type: ignore[misc]


async def test_old_and_too_many_letters_are_deleted_and_counted(redis: Redis, letters: GroupLetters) -> None:
    for number in range(1, 451):
        await redis.xadd(DEAD, {"id": f"e{number}", "body": "x" * 10_000}, id=f"{number}-0")
    await letters.drop(CRM, ["450-0"])
    await redis.xtrim(DEAD, maxlen=440, approximate=False)  # as a member's MAXLEN
    bounds = DeadBounds(keep="1s", size="1MB")  # type: ignore[arg-type]  # as relay.toml has it
    trimmed = await letters.trim(CRM, bounds, 1100)
    assert (trimmed.expired, trimmed.is_filling) == (90, True)
    assert trimmed.size <= 1_000_000
    assert trimmed.expired + trimmed.overflowed + trimmed.letters == 449
    again = await letters.trim(CRM, bounds, 1100)
    assert again == TrimmedLetters(0, 0, trimmed.letters, again.size, is_filling=False)
    assert await letters.known() == {CRM: GroupCounts(dropped=1, discarded=449 - trimmed.letters)}
    assert await letters.trim(GroupName("support", "none"), bounds, 1100) == (0, 0, 0, 0, False)


async def test_letters_that_were_overwritten_stop_nothing_else(redis: Redis, letters: GroupLetters) -> None:
    await redis.set(DEAD, "x")
    assert await letters.numbers([CRM, GroupName("support", "other")]) == {CRM: 0, GroupName("support", "other"): 0}
    await redis.hset(PLACES, "crm", "1-0")  # type: ignore[misc]
    assert await letters.places(["support", "none"]) == {CRM: "1-0"}
