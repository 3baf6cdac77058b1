from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.core.event import Dialect
from relay.store import bells, names
from relay.store.acceptor import Acceptor
from relay.store.inbox import Inbox, InboxGroupMissing, Move, compile_plan
from tests.building import TWO_TOPICS, arrival_of, config_of
from tests.support import hash_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from relay.store.inbox import InboxEntry
    from tests.support import Clock

TOKEN = "me"
NOW_MS = 1_789_377_302_000


@pytest.fixture
async def inbox(redis: Redis) -> Inbox:
    """An inbox with its group, and the router's lease in our hands."""
    await redis.set(names.lease(bells.ROUTE.job_id), TOKEN)
    inbox = Inbox(redis)
    await inbox.ensure()
    return inbox


async def accept(redis: Redis, clock: Clock, count: int = 1) -> None:
    async with Acceptor(redis, 60.0, clock) as acceptor:
        for _ in range(count):
            await acceptor.accept(arrival_of())


def move(entry: InboxEntry, *topics: str) -> Move:
    return Move(entry.entry, "message.received", topics, ["id", "x", "body", entry.body])


async def commit(inbox: Inbox, *moves: Move, token: str = TOKEN) -> bool:
    plan, positions = compile_plan(config_of(TWO_TOPICS))
    return await inbox.commit(plan, positions, moves, token, NOW_MS)


async def test_reads_what_was_accepted_in_order(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 3)
    entries = await inbox.read(10, TOKEN)
    assert [entry.entry for entry in entries] == [entry for entry, _ in await redis.xrange(names.INBOX)]
    assert {(entry.dialect, entry.line, entry.at) for entry in entries} == {
        (Dialect.V3, "+16465550123", b"1789377302000")
    }


async def test_a_successor_reads_what_was_left_pending(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    read = await inbox.read(10, TOKEN)
    assert await inbox.read(10, TOKEN) == []
    assert await inbox.read(10, TOKEN, pending=True) == read


async def test_a_commit_moves_appends_counts_and_wakes_in_one_step(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    first, second = await inbox.read(10, TOKEN)
    assert await commit(inbox, move(first, "messages", "everything"), move(second, "everything"))
    assert await redis.xlen(names.INBOX) == 0
    assert await redis.xlen("relay:topic:messages") == 1
    assert [fields[b"body"] for _, fields in await redis.xrange("relay:topic:everything")] == [first.body, second.body]
    assert (await hash_of(redis, names.COUNTS))["routed"] == "2"
    for name in ("bot", "crm"):
        slot = bells.slot_of(name)
        assert name.encode() in await redis.zrange(names.ready(slot), 0, -1)
        assert await redis.get(f"arq:job:{bells.deliver(slot).job_id}") == bells.deliver(slot).payload
        assert await redis.zscore(names.QUEUE, bells.deliver(slot).job_id) == bells.NOW


async def test_an_entry_is_moved_once_however_often_it_is_committed(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock)
    [entry] = await inbox.read(10, TOKEN)
    for _ in range(3):
        assert await commit(inbox, move(entry, "messages"))
    assert await redis.xlen("relay:topic:messages") == 1


async def test_who_lost_the_lease_moves_nothing(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock)
    [entry] = await inbox.read(10, TOKEN)
    assert await commit(inbox, move(entry, "messages"), token="somebody else") is False
    assert await redis.xlen(names.INBOX) == 1
    assert not await redis.exists("relay:topic:messages")


async def test_what_no_topic_wants_is_counted_by_type(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock, 2)
    first, second = await inbox.read(10, TOKEN)
    await commit(inbox, move(first), move(second, "messages"))
    assert await hash_of(redis, names.UNMATCHED) == {"message.received": "1"}
    counts = await hash_of(redis, names.COUNTS)
    assert (counts["unmatched"], counts["routed"]) == ("1", "1")


async def test_what_cannot_be_understood_is_set_aside_and_holds_up_nobody(
    redis: Redis, inbox: Inbox, clock: Clock
) -> None:
    await accept(redis, clock, 2)
    first, second = await inbox.read(10, TOKEN)
    strange = Move(first.entry, "", (), ["reason", "odd", "body", first.body], aside=True)
    await commit(inbox, strange, move(second, "messages"))
    [(_, fields)] = await redis.xrange(names.ASIDE)
    assert fields == {b"reason": b"odd", b"body": first.body}
    assert await redis.xlen("relay:topic:messages") == 1


async def test_a_missing_group_is_told_and_made_from_the_beginning(redis: Redis, inbox: Inbox, clock: Clock) -> None:
    await accept(redis, clock)
    await redis.xgroup_destroy(names.INBOX, names.INBOX_GROUP)
    with pytest.raises(InboxGroupMissing):
        await inbox.read(10, TOKEN)
    await inbox.ensure()
    assert len(await inbox.read(10, TOKEN)) == 1


async def test_an_entry_that_the_ingress_did_not_write_reads_as_empty(redis: Redis, inbox: Inbox) -> None:
    await redis.xadd(names.INBOX, {"foreign": "entry"})
    [entry] = await inbox.read(10, TOKEN)
    assert (entry.body, entry.line, entry.dialect) == (b"", None, Dialect.V3)
