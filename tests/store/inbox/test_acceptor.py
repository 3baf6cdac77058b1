from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreUnavailable
from relay.process.timings import DEFAULTS
from relay.store import wakeups
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.inbox.acceptor import Acceptor
from tests.building import webhook_of
from tests.support import KEYS, hash_of, raw_server

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.support import Clock

WINDOW = 3600.0
HASTY = replace(DEFAULTS, accept_wait=0.3, accept_attempt=0.2)


async def test_accepted_event_has_all_fields(redis: Redis, clock: Clock) -> None:
    arrival = webhook_of()._replace(generation=2, remote="203.0.113.7")
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        assert await acceptor.accept(arrival) is True
    [(_, fields)] = await redis.xrange(KEYS.inbox)
    assert fields == {
        b"id": arrival.id.encode(),
        b"type": arrival.type.encode(),
        b"dialect": b"v3",
        b"webhook_id": arrival.webhook_id.encode(),
        b"line": b"+16465550123",
        b"at": b"1789377302000",
        b"via": b"2 203.0.113.7",
        b"body": arrival.body,
    }


async def test_concurrent_copies_are_accepted_once(redis: Redis, clock: Clock) -> None:
    arrival = webhook_of()
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        answers = await asyncio.gather(*(acceptor.accept(arrival) for _ in range(50)))
    assert sorted(answers) == [False] * 49 + [True]
    assert await redis.xlen(KEYS.inbox) == 1
    assert await hash_of(redis, KEYS.counts) == {"accepted": "1", "duplicate": "49"}


async def test_copies_through_two_processes_are_accepted_once(redis: Redis, clock: Clock) -> None:
    arrival = webhook_of()
    async with Acceptor(redis, WINDOW, clock) as one, Acceptor(redis, WINDOW, clock) as other:
        answers = await asyncio.gather(*(acceptor.accept(arrival) for acceptor in (one, other) * 25))
    assert sum(answers) == 1


async def test_event_is_new_again_after_the_dedupe_window(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        arrival = webhook_of()
        await acceptor.accept(arrival)
    lifetime = await redis.pttl(KEYS.seen_prefix + arrival.id)
    assert WINDOW * 1000 - 5000 < lifetime <= WINDOW * 1000


async def test_concurrent_events_share_one_round_trip(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(webhook_of())
        await redis.config_resetstat()
        await asyncio.gather(*(acceptor.accept(webhook_of()) for _ in range(100)))
        stats = await redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] <= 2


async def test_wake_up_is_queued_in_arq_format(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(webhook_of())
        await acceptor.accept(webhook_of())
    assert await redis.get("arq:job:relay:route") == b'{"t":null,"f":"route","a":[],"k":{},"et":1}'
    assert await redis.zrange(KEYS.queue, 0, -1, withscores=True) == [(b"relay:route", float(wakeups.NOW))]


async def test_duplicate_wakes_no_router(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        arrival = webhook_of()
        await acceptor.accept(arrival)
        await redis.delete(KEYS.queue, "arq:job:relay:route")
        assert await acceptor.accept(arrival) is False
    assert not await redis.exists(KEYS.queue, "arq:job:relay:route")


async def test_script_is_sent_again_after_a_script_flush(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(webhook_of())
        await redis.script_flush()
        assert await acceptor.accept(webhook_of()) is True


async def test_unavailable_redis_fails_after_the_wait(clock: Clock) -> None:
    nowhere = open_redis("redis://127.0.0.1:1/0", REQUEST_TIMEOUT)
    async with Acceptor(nowhere, WINDOW, clock, timings=HASTY) as acceptor:
        with pytest.raises(StoreUnavailable, match="Redis did not accept the event"):
            await acceptor.accept(webhook_of())
    await nowhere.aclose()


async def test_unresponsive_redis_fails_after_the_wait(clock: Clock) -> None:
    async def swallow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(swallow) as port:
        hung = open_redis(f"redis://127.0.0.1:{port}/0", REQUEST_TIMEOUT)
        async with Acceptor(hung, WINDOW, clock, timings=HASTY) as acceptor:
            first = asyncio.create_task(acceptor.accept(webhook_of()))
            await asyncio.sleep(0.1)  # the second arrives during the first batch, and waits behind it
            answers = await asyncio.gather(first, acceptor.accept(webhook_of()), return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        await hung.aclose()


async def test_full_redis_refuses_without_a_partial_write(redis: Redis, clock: Clock) -> None:
    async with Acceptor(redis, WINDOW, clock) as acceptor:
        await acceptor.accept(webhook_of())
        before = (await redis.info("memory"))["maxmemory"]
        await redis.config_set("maxmemory", 1)
        try:
            arrival = webhook_of()
            with pytest.raises(StoreUnavailable):
                await acceptor.accept(arrival)
        finally:
            await redis.config_set("maxmemory", before)
        assert not await redis.exists(KEYS.seen_prefix + arrival.id)
        assert await acceptor.accept(arrival) is True
