"""Each event goes to the inbox of its shard, and a shard that does not answer delays no other."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreUnavailable
from relay.linq.payloads.shard_key import shard_key_in
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.sharded_acceptor import ShardedAcceptor
from relay.store.inbox.waiting_room import Room
from relay.store.sharding.shards import Shards, open_shards
from tests.building import body_of, webhook_of
from tests.support import eventually, hash_of, reserve_port

if TYPE_CHECKING:
    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis

WINDOW = 3600.0
HASTY = replace(DEFAULTS, accept_wait=0.3, accept_attempt=0.2)


def of_chat(chat: str) -> VerifiedWebhook:
    webhook = webhook_of()
    return webhook._replace(body=body_of(event_id=webhook.id, chat_id=chat))


def of_shard(shards: Shards, shard: Redis) -> VerifiedWebhook:
    """Return a new event of a chat of this shard."""
    webhooks = (of_chat(f"chat-{number}") for number in range(1000))
    return next(each for each in webhooks if shards.of(shard_key_in(each.dialect, each.body)) is shard)


async def test_event_is_in_the_inbox_of_its_shard_once(redis: Redis, redis_url: str) -> None:
    del redis
    share = Room().share(3)
    async with (
        open_shards(redis_url, REQUEST_TIMEOUT, count=3) as shards,
        ShardedAcceptor([Acceptor(shard, WINDOW, time.time, room=share) for shard in shards.all]) as acceptor,
    ):
        expected = {shard.key.name: of_shard(shards, shard) for shard in shards.all}
        answers = await asyncio.gather(*(acceptor.accept(webhook) for webhook in expected.values() for _ in range(9)))
        assert (answers.count(True), answers.count(False)) == (3, 24)
        for shard in shards.all:
            [(_, fields)] = await shard.xrange(shard.key.inbox)
            assert fields[b"id"].decode() == expected[shard.key.name].id
            assert await hash_of(shard, shard.key.counts) == {"accepted": "1", "duplicate": "8"}
            assert await shard.zcard(shard.key.queue) == 1


async def test_shard_that_does_not_answer_delays_no_other(redis: Redis, redis_url: str) -> None:
    share = Room(webhooks=2).share(2)
    async with (
        open_redis(redis_url, REQUEST_TIMEOUT) as works,
        open_redis(f"redis://127.0.0.1:{reserve_port()}", REQUEST_TIMEOUT, "relay/1") as fails,
        ShardedAcceptor(
            [Acceptor(shard, WINDOW, time.time, timings=HASTY, room=share) for shard in (works, fails)]
        ) as acceptor,
    ):
        shards = Shards((works, fails))
        refused = asyncio.create_task(acceptor.accept(of_shard(shards, fails)))
        await eventually(lambda: not acceptor.redis_answers)
        with pytest.raises(StoreUnavailable, match="wait for Redis already"):
            await acceptor.accept(of_shard(shards, fails))
        assert await acceptor.accept(of_shard(shards, works)) is True
        assert not refused.done()
        with pytest.raises(StoreUnavailable):
            await refused
    assert await redis.xlen(redis.key.inbox) == 1


@pytest.mark.parametrize(("parts", "share"), [(1, Room(8, 100)), (3, Room(2, 33)), (200, Room(1, 1))])
def test_rooms_divide_the_limits(parts: int, share: Room) -> None:
    assert Room(8, 100).share(parts) == share
