from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from relay.core.event import Dialect
from relay.store import wakeups
from relay.store.driver.fenced_reads import LeaseLost
from relay.store.inbox import inbox as module
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.inbox import BEGINNING, Inbox, Move, Moved, NotPrepared, Permit, compile_feeds, parts_of
from tests.building import TWO_TOPICS, config_of, webhook_of
from tests.support import KEYS, hash_of

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.inbox.inbox import InboxEntry
    from tests.support import Clock

PERMIT = Permit("me", "prepared")
NOW_MS = 1_789_377_302_000
NOTHING = Moved(0, 0, 0)
TOPICS = ("relay:topic:messages", "relay:topic:everything")


@pytest.fixture
async def inbox(redis: Redis) -> Inbox:
    """A prepared inbox, with the router's lease acquired."""
    await redis.set(KEYS.lease(wakeups.route(KEYS).job_id), PERMIT.token)
    inbox = Inbox(redis)
    await inbox.mark_prepared(PERMIT.preparation)
    return inbox


async def accept(redis: Redis, clock: Clock, count: int = 1) -> None:
    async with Acceptor(redis, 60.0, clock) as acceptor:
        for _ in range(count):
            await acceptor.accept(webhook_of())


def move(entry: InboxEntry, *topics: str) -> Move:
    fields = ("id", "x", "body", entry.body) if topics else ("message.received",)
    return Move(entry.entry, topics, fields, len(entry.body))


async def commit(inbox: Inbox, *moves: Move, permit: Permit = PERMIT) -> Moved:
    return await inbox.commit(parts_of(compile_feeds(config_of(TWO_TOPICS), KEYS), moves), permit, NOW_MS)


async def bodies(redis: Redis, stream: str) -> list[bytes]:
    return [fields[b"body"] for _, fields in await redis.xrange(stream)]


# --- reading --------------------------------------------------------------------------------------


async def test_accepted_events_are_read_in_order(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 3)
    entries = await inbox.read(10)
    assert [entry.entry for entry in entries] == [entry for entry, _ in await redis.xrange(KEYS.inbox)]
    assert {(entry.dialect, entry.line, entry.at) for entry in entries} == {
        (Dialect.V3, "+16465550123", b"1789377302000")
    }


async def test_read_keeps_entries_and_resumes_after_an_id(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 3)
    first, second, third = await inbox.read(10)
    assert await inbox.read(2) == [first, second]
    assert await inbox.read(10, first.entry) == [second, third]
    assert await inbox.read(10, third.entry) == []
    assert await inbox.read(10, BEGINNING, block_ms=1) == [first, second, third]


@pytest.mark.parametrize("block_ms", [None, 1])
async def test_unused_inbox_is_empty(inbox: Inbox, block_ms: int | None) -> None:
    assert await inbox.read(10, block_ms=block_ms) == []


async def test_foreign_entry_is_read_as_empty(redis: Redis, inbox: Inbox) -> None:
    await redis.xadd(KEYS.inbox, {"foreign": "entry"})
    [entry] = await inbox.read(10)
    assert (entry.body, entry.line, entry.dialect) == (b"", None, Dialect.V3)


async def test_binary_entry_is_readable(redis: Redis, inbox: Inbox) -> None:
    await redis.xadd(KEYS.inbox, {"line": b"\xff", "webhook_id": b"\xff"})
    [entry] = await inbox.read(10)
    assert (entry.line, entry.webhook_id) == ("\ufffd", "\ufffd")


# --- moving ---------------------------------------------------------------------------------------


async def test_commit_moves_counts_and_wakes_in_one_step(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    first, second = await inbox.read(10)
    assert await commit(inbox, move(first, "messages", "everything"), move(second, "everything")) == (2, 0, 0)
    assert await redis.xlen(KEYS.inbox) == 0
    assert await redis.xlen("relay:topic:messages") == 1
    assert await bodies(redis, "relay:topic:everything") == [first.body, second.body]
    assert (await hash_of(redis, KEYS.counts))["routed"] == "2"
    assert await redis.smembers(KEYS.topics) == {b"messages", b"everything"}  # type: ignore[misc]  # typed for the blocking client, too
    for name in ("bot", "crm"):
        partition = wakeups.partition_of(name)
        assert name.encode() in await redis.zrange(KEYS.ready(partition), 0, -1)
        assert (
            await redis.get(f"arq:job:{wakeups.deliver(KEYS, partition).job_id}")
            == wakeups.deliver(KEYS, partition).payload
        )
        assert await redis.zscore(KEYS.queue, wakeups.deliver(KEYS, partition).job_id) == wakeups.NOW


async def test_repeated_commit_moves_an_entry_once(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock)
    [entry] = await inbox.read(10)
    assert await commit(inbox, move(entry, "messages")) == (1, 0, 0)
    assert await commit(inbox, move(entry, "messages")) == NOTHING
    assert await redis.xlen("relay:topic:messages") == 1


async def test_missing_entry_feeds_and_wakes_no_lane(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 3)
    first, second, third = await inbox.read(10)
    await redis.xdel(KEYS.inbox, second.entry)
    moved = await commit(inbox, move(first, "messages"), move(second, "everything"), move(third, "messages"))
    assert moved == (2, 0, 0)
    assert await bodies(redis, "relay:topic:messages") == [first.body, third.body]
    assert await redis.smembers(KEYS.topics) == {b"messages"}  # type: ignore[misc]  # as above
    assert await redis.zcard(KEYS.ready(wakeups.partition_of("crm"))) == 0


async def test_entries_accepted_meanwhile_are_kept(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    """A replica that was behind and became the primary can write an id below those that were read."""
    await accept(redis, clock, 2)
    first, second = await inbox.read(10)
    await redis.delete(KEYS.inbox)
    between = await redis.xadd(KEYS.inbox, {"id": "x"}, id="1-1")
    await redis.xadd(KEYS.inbox, {"id": "y"}, id=second.entry)
    assert await commit(inbox, move(first, "messages"), move(second, "messages")) == (1, 0, 0)
    assert [entry for entry, _ in await redis.xrange(KEYS.inbox)] == [between]


async def test_router_without_the_lease_moves_nothing(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock)
    [entry] = await inbox.read(10)
    with pytest.raises(LeaseLost):
        await commit(inbox, move(entry, "messages"), permit=PERMIT._replace(token="somebody else"))
    assert await redis.xlen(KEYS.inbox) == 1
    assert not await redis.exists("relay:topic:messages")


@pytest.mark.parametrize("mark", [None, "another router's"])
async def test_no_entry_is_moved_while_lanes_are_unprepared(
    redis: Redis, inbox: Inbox, clock: Clock, mark: str | None
) -> None:
    await accept(redis, clock)
    [entry] = await inbox.read(10)
    await redis.delete(KEYS.prepared)
    if mark:
        await inbox.mark_prepared(mark)
    with pytest.raises(NotPrepared):
        await commit(inbox, move(entry, "messages"))
    assert await redis.xlen(KEYS.inbox) == 1
    assert not await redis.exists("relay:topic:messages")


async def test_unmatched_events_are_counted_by_type(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    first, second = await inbox.read(10)
    assert await commit(inbox, move(first), move(second, "messages")) == (1, 1, 0)
    assert await hash_of(redis, KEYS.unmatched) == {"message.received": "1"}
    counts = await hash_of(redis, KEYS.counts)
    assert (counts["unmatched"], counts["routed"]) == ("1", "1")


async def test_undecodable_event_is_quarantined_and_blocks_no_other(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    first, second = await inbox.read(10)
    strange = Move(first.entry, (), ["reason", "odd", "body", first.body], len(first.body), quarantined=True)
    assert await commit(inbox, strange, move(second, "messages")) == (1, 0, 1)
    [(_, fields)] = await redis.xrange(KEYS.quarantine)
    assert fields == {b"reason": b"odd", b"body": first.body}
    assert await redis.xlen("relay:topic:messages") == 1


async def test_full_redis_still_routes_accepted_events(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    entries = await inbox.read(10)
    await redis.config_set("maxmemory", "1mb")
    try:
        moved = await commit(inbox, *(move(entry, "messages") for entry in entries))
    finally:
        await redis.config_set("maxmemory", "0")
    assert moved == (2, 0, 0)
    assert await bodies(redis, "relay:topic:messages") == [entry.body for entry in entries]


@pytest.mark.parametrize("stream", [KEYS.unmatched, KEYS.quarantine])
async def test_wrong_key_type_moves_and_loses_nothing(redis: Redis, inbox: Inbox, clock: Clock, stream: str) -> None:
    await accept(redis, clock, 3)
    first, second, third = await inbox.read(10)
    moves = [
        move(first, "messages"),
        move(second, "messages", "everything"),
        Move(third.entry, (), ["reason", "odd"], 0, quarantined=True),
    ]
    await redis.set(stream, "not a stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await commit(inbox, *moves)
    assert [entry.entry for entry in await inbox.read(10)] == [first.entry, second.entry, third.entry]
    await redis.delete(stream)
    assert await commit(inbox, *moves) == (2, 0, 1)
    assert (await redis.xlen("relay:topic:messages"), await redis.xlen("relay:topic:everything")) == (2, 1)


@pytest.mark.parametrize(("appended", "size"), [(1, 10**9), (3, 10**9), (1000, 1), (1000, 700), (1000, 10**9)])
async def test_large_batch_is_moved_in_ordered_parts(
    redis: Redis, inbox: Inbox, clock: Clock, monkeypatch: pytest.MonkeyPatch, appended: int, size: int
) -> None:
    monkeypatch.setattr(module, "_MAX_APPENDED", appended)
    monkeypatch.setattr(module, "_MAX_BYTES", size)
    await accept(redis, clock, 7)
    entries = await inbox.read(10)
    moves = [move(entry, "messages", "everything") if n % 3 else move(entry) for n, entry in enumerate(entries)]
    assert await commit(inbox, *moves) == (4, 3, 0)
    for topic in TOPICS:
        assert await bodies(redis, topic) == [entry.body for n, entry in enumerate(entries) if n % 3]
