"""A fenced shard takes nothing that was placed by the former number; and notes where its inbox ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.quarantine import Quarantine, Readable
from relay.store.sharding.growth.fence import Fence, StalePlacement, advance, fence_of
from tests.building import webhook_of
from tests.support import hash_of, reserve_port

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.sharding.shards import Shards

WINDOW = 3600.0


def acceptor_of(shard: Redis, placed_by: int) -> Acceptor:
    return Acceptor(shard, WINDOW, time.time, placed_by=placed_by)


async def test_shard_of_a_relay_that_never_grew_takes_any(shards: Shards) -> None:
    shard = shards.all[1]
    assert await fence_of(shard) is None
    async with acceptor_of(shard, 1) as acceptor:
        assert await acceptor.accept(webhook_of()) is True


async def test_new_shard_takes_nothing_before_the_old_ones_are_fenced(growing: Shards) -> None:
    new = growing.all[2]
    async with acceptor_of(new, 4) as acceptor:
        with pytest.raises(StalePlacement) as refused:
            await acceptor.accept(webhook_of())
        assert refused.value.shards == 2
        await advance(growing.all, 2, 4, 1000)
        assert await acceptor.accept(webhook_of()) is True


async def test_stale_batch_takes_nothing_claims_nothing_and_counts_nothing(growing: Shards) -> None:
    old = growing.all[1]
    async with acceptor_of(old, 2) as acceptor:
        before = webhook_of()
        assert await acceptor.accept(before) is True
        await advance(growing.all, 2, 4, 1000)
        for webhook in (webhook_of(event_id="late"), before):
            with pytest.raises(StalePlacement, match="RELAY_SHARDS=4"):
                await acceptor.accept(webhook)
    assert await old.xlen(old.key.inbox) == 1
    assert await old.exists(f"{old.key.seen_prefix}late") == 0
    assert await hash_of(old, old.key.counts) == {"accepted": "1", "placed_by": "4"}


async def test_fence_notes_where_the_inbox_ended_once(growing: Shards) -> None:
    first, second = growing.all[:2]
    last = await second.xadd(second.key.inbox, {"id": "x"})
    await advance(growing.all, 2, 4, 1000)
    await second.xadd(second.key.inbox, {"id": "y"})
    await advance(growing.all, 2, 4, 2000)
    assert await fence_of(first) == Fence(4, "0-0", 1000)
    assert await fence_of(second) == Fence(4, last.decode(), 1000)


async def test_new_shards_stay_closed_while_an_old_one_cannot_be_fenced(growing: Shards) -> None:
    async with open_redis(f"redis://127.0.0.1:{reserve_port()}", REQUEST_TIMEOUT) as away:
        with pytest.raises(RedisConnectionError):
            await advance((growing.all[0], away, *growing.all[2:]), 2, 4, 1000)
    assert await fence_of(growing.all[2]) == Fence(2, "", 0)


async def test_quarantined_body_is_not_accepted_by_the_former_number(growing: Shards) -> None:
    old = growing.all[1]
    quarantine = Quarantine(old)
    await quarantine.put("v3", None, b"body", "too modern", 1)
    [(entry, _)] = await old.xrange(old.key.quarantine)
    readable = Readable(entry.decode(), "late", "message.received", b"x" * 12)
    await advance(growing.all, 2, 4, 1000)
    with pytest.raises(StalePlacement):
        await quarantine.retry([readable], 1000, 1, placed_by=2)
    assert await old.xlen(old.key.inbox) == 0
    assert await quarantine.retry([readable], 1000, 1, placed_by=4) == (1, 0)
