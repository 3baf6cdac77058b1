"""A real Redis that stalls, goes away and comes back while webhooks arrive: they wait, a limited time and number."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import StoreUnavailable
from relay.process.timings import DEFAULTS
from relay.store.driver.client import REQUEST_TIMEOUT, open_redis
from relay.store.inbox.acceptor import Acceptor
from relay.store.inbox.waiting_room import Room
from tests.building import webhook_of
from tests.redis_server import RedisServer
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis

PATIENT = replace(DEFAULTS, accept_wait=20.0, accept_attempt=0.3)
"""Timings with which a stall of a moment takes several attempts."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with open_redis(server.url, REQUEST_TIMEOUT) as redis:
        yield redis


async def ids_in_inbox(redis: Redis) -> list[str]:
    return [fields[b"id"].decode() for _, fields in await redis.xrange(KEYS.inbox)]


async def test_webhooks_wait_until_a_stall_ends(server: RedisServer, redis: Redis) -> None:
    async with Acceptor(redis, 60.0, time.time, timings=PATIENT) as acceptor:
        await acceptor.accept(webhook_of())
        arrivals = [webhook_of() for _ in range(600)]  # two batches in flight, and one that waits behind them
        server.signal(signal.SIGSTOP)
        try:
            waiting = [asyncio.create_task(acceptor.accept(arrival)) for arrival in arrivals]
            await eventually(lambda: not acceptor.redis_answers)
            late = asyncio.create_task(acceptor.accept(webhook_of()))
        finally:
            server.signal(signal.SIGCONT)
        await asyncio.gather(*waiting)
        assert await late is True
        assert await acceptor.accept(webhook_of()) is True
        assert acceptor.redis_answers
    stored = await ids_in_inbox(redis)
    assert len(stored) == len(set(stored)) == 603
    assert {arrival.id for arrival in arrivals} <= set(stored)


async def test_webhooks_wait_for_a_redis_that_restarts(server: RedisServer, redis: Redis) -> None:
    arrivals = [webhook_of() for _ in range(20)]
    async with Acceptor(redis, 60.0, time.time, timings=PATIENT) as acceptor:
        await acceptor.accept(webhook_of())
        await server.kill()
        waiting = [asyncio.create_task(acceptor.accept(arrival)) for arrival in arrivals]
        await eventually(lambda: not acceptor.redis_answers)
        await server.start()
        assert all(await asyncio.gather(*waiting))
    assert await redis.xlen(KEYS.inbox) == 21


async def test_event_stored_after_its_refusal_is_a_repeat_later(server: RedisServer, redis: Redis) -> None:
    arrival = webhook_of()
    short = replace(DEFAULTS, accept_wait=0.3, accept_attempt=0.1)
    async with Acceptor(redis, 60.0, time.time, timings=short) as acceptor:

        async def is_connected() -> bool:
            with suppress(StoreUnavailable):  # on a busy machine
                await acceptor.accept(webhook_of())
                return True
            return False

        await eventually(is_connected)
        server.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await acceptor.accept(arrival)
            assert time.monotonic() - began > 0.25
        finally:
            server.signal(signal.SIGCONT)
        await eventually(lambda: redis.exists(KEYS.seen_prefix + arrival.id))
        await eventually(lambda: acceptor.redis_answers)
    async with Acceptor(redis, 60.0, time.time, timings=PATIENT) as acceptor:
        assert await acceptor.accept(arrival) is False
    assert (await ids_in_inbox(redis)).count(arrival.id) == 1


@pytest.mark.parametrize("room", [Room(webhooks=3), Room(size=1000)])
async def test_full_room_refuses_the_newest_at_once(server: RedisServer, redis: Redis, room: Room) -> None:
    async with Acceptor(redis, 60.0, time.time, timings=PATIENT, room=room) as acceptor:
        await acceptor.accept(webhook_of())
        server.signal(signal.SIGSTOP)
        try:
            waiting = [asyncio.create_task(acceptor.accept(webhook_of())) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable, match=r"3 webhooks with \d+ bytes wait"):
                await acceptor.accept(webhook_of())
        finally:
            server.signal(signal.SIGCONT)
        assert len(await asyncio.gather(*waiting)) == 3
        assert await acceptor.accept(webhook_of()) is True
