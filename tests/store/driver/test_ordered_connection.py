from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from relay.store.driver.client import WORKER_TIMEOUT, open_redis
from relay.store.driver.ordered_connection import OrderedConnection
from tests.bootstrap.redis_proxy import proxy_to
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Connection

    from relay.store.driver.client import Redis


async def read(connection: Connection) -> Any:
    return await connection.read_response()


async def ask(line: OrderedConnection, *command: str | int) -> Any:
    """Return the reply to a command."""
    return await line.exchange([pack_command(command)], read)  # type: ignore[arg-type]  # typed for fewer tuples than it takes


@asynccontextmanager
async def opened(redis: Redis) -> AsyncIterator[OrderedConnection]:
    line = OrderedConnection(redis)
    try:
        yield line
    finally:
        await line.aclose()


async def connections(redis: Redis) -> set[int]:
    """Return the ids of Redis's other connections."""
    own = await redis.client_id()
    return {int(client["id"]) for client in await redis.client_list()} - {own}


async def is_blocked(redis: Redis, number: int) -> bool:
    """Return True if Redis has blocked that connection."""
    return any(int(client["id"]) == number and "b" in client["flags"] for client in await redis.client_list())


async def test_calls_run_in_order_and_each_gets_its_own_reply(redis: Redis) -> None:
    async with opened(redis) as line:
        answers = await asyncio.gather(*(ask(line, "RPUSH", "list", number) for number in range(300)))
    assert answers == list(range(1, 301))
    assert await redis.lrange("list", 0, -1) == [b"%d" % number for number in range(300)]  # type: ignore[misc]  # typed for the blocking client, too


async def test_error_reply_reaches_only_its_own_call(redis: Redis) -> None:
    async with opened(redis) as line:
        answers = await asyncio.gather(
            *(ask(line, *command) for command in (("INCR", "n"), ("HGET", "n", "x"), ("INCR", "n"))),
            return_exceptions=True,
        )
        assert await ask(line, "INCR", "n") == 3
    assert isinstance(answers.pop(1), ResponseError)
    assert answers == [1, 2]


async def test_idle_connection_closed_by_redis_is_reopened(redis: Redis) -> None:
    async with opened(redis) as line:
        number = await ask(line, "CLIENT", "ID")
        await redis.client_kill_filter(_id=str(number))
        await asyncio.sleep(0.2)  # until it counts as idle
        assert await ask(line, "CLIENT", "ID") != number


async def test_late_call_fails_and_the_next_succeeds(redis: Redis) -> None:
    line = OrderedConnection(redis, timeout=0.05)
    first = await ask(line, "CLIENT", "ID")
    with pytest.raises(TimeoutError):
        await ask(line, "BLPOP", "nothing", 0)
    assert await ask(line, "CLIENT", "ID") != first
    await line.aclose()


async def test_connection_error_reaches_all_waiting_calls_and_none_later(redis: Redis) -> None:
    async with opened(redis) as line:
        first = await ask(line, "CLIENT", "ID")
        stuck = [asyncio.ensure_future(ask(line, "BLPOP", "nothing", 0)) for _ in range(3)]
        await eventually(lambda: is_blocked(redis, first))
        await redis.client_kill_filter(_id=str(first))
        for call in stuck:
            with pytest.raises(RedisConnectionError):
                await call
        assert await ask(line, "INCR", "n") == 1


async def test_cancelled_call_does_not_shift_replies(redis: Redis) -> None:
    async with opened(redis) as line:
        first = await ask(line, "CLIENT", "ID")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await ask(line, "BLPOP", "nothing", 0)
        assert await ask(line, "ECHO", "mine") == b"mine"
        assert first not in await connections(redis)


async def test_send_during_a_cancellation_fails_with_connection_lost(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_redis(redis_url, WORKER_TIMEOUT) as redis, opened(redis) as line:
        await ask(line, "PING")
        pipeline: Any = line._pipeline

        async def send_too_late(command: Any) -> None:
            await pipeline.abort()
            await pipeline._connection._send_packed_command(command)

        monkeypatch.setattr(pipeline._connection, "send_packed_command", send_too_late)
        with pytest.raises(RedisConnectionError):
            await ask(line, "PING")
        assert await ask(line, "PING") == b"PONG"


async def test_call_during_an_outage_fails_and_the_next_succeeds(redis: Redis, redis_url: str) -> None:
    async with proxy_to(redis_url) as proxy:
        behind = open_redis(proxy.url, WORKER_TIMEOUT)
        async with opened(behind) as line:
            assert await ask(line, "INCR", "n") == 1
            proxy.shut()
            answers = await asyncio.gather(*(ask(line, "INCR", "n") for _ in range(5)), return_exceptions=True)
            assert all(isinstance(answer, OSError | RedisConnectionError) for answer in answers)
            proxy.open()
            assert await ask(line, "PING") == b"PONG"
        await behind.aclose()
    assert await redis.get("n") == b"1"
