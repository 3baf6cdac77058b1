from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from relay.process.tasks import in_background
from relay.store.driver.client import REDIS_ERRORS, ask, describe, open_redis
from relay.store.driver.pools.concurrent_pool import ConnectsConcurrently
from tests.support import eventually, raw_server

if TYPE_CHECKING:
    from relay.process.embedded_redis import Embedded
    from relay.store.driver.client import Redis


def test_connection_lost_under_uvloop_is_a_redis_error(redis_server: Embedded) -> None:
    async def lose_it() -> None:
        redis = open_redis(redis_server.url, 5)
        connection: Any = await redis.connection_pool.get_connection()
        transport = connection._writer.transport
        transport.abort()
        await asyncio.sleep(0.01)  # uvloop closes its handle in a turn of its own
        try:
            await connection.send_command("PING")
        finally:
            await redis.connection_pool.release(connection)
            await redis.aclose()

    with (
        pytest.raises(RedisConnectionError, match="was closed") as caught,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(lose_it())
    assert isinstance(caught.value, REDIS_ERRORS)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "the handler is closed" in str(caught.value.__cause__)  # `pools.sending` matches uvloop's text


async def test_cancelling_a_loop_over_redis_ends_it_at_any_moment(redis_server: Embedded) -> None:
    async def loop_for_ever(redis: Redis) -> None:
        while True:
            await ask(redis.ping())

    async with open_redis(redis_server.url, 60) as redis:
        await ask(redis.ping())
        for turns in range(60):
            task = asyncio.create_task(loop_for_ever(redis))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=5)
            assert done, f"cancelled after {turns} turns of the event loop, it goes on"


async def test_command_that_cannot_be_written_in_time_is_a_redis_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"+OK\r\n")  # to its name
        await asyncio.Event().wait()  # reads no more

    async with raw_server(serve) as port, open_redis(f"redis://127.0.0.1:{port}", 0.2) as redis:
        connection: Any = await redis.connection_pool.get_connection()
        with pytest.raises(RedisTimeoutError, match="writing"):
            await connection.send_packed_command([b"x" * 100_000_000])
        assert not connection.is_connected
        assert connection.socket_timeout == 0.2
        await redis.connection_pool.release(connection)


async def test_connection_that_opens_slowly_holds_up_no_other_caller() -> None:
    opened: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        if len(opened) > 1:
            await asyncio.Event().wait()
        while await reader.read(1000):
            writer.write(b"+OK\r\n")  # to its name, and to any command

    async with raw_server(serve) as port, open_redis(f"redis://127.0.0.1:{port}", 60) as redis:
        pool = redis.connection_pool
        connection = await pool.get_connection()
        async with in_background(ask(redis.save())) as slow:
            await eventually(lambda: len(opened) > 1)
            await pool.release(connection)
            async with asyncio.timeout(5):
                assert await redis.save()
            assert not slow.done()


@pytest.mark.parametrize(
    "url",
    ["redis://localhost", "unix:///redis.sock", "redis+sentinel://localhost/primary", "redis+cluster://localhost"],
)
async def test_every_pool_opens_connections_side_by_side(url: str) -> None:
    async with open_redis(url, 5) as redis:
        assert isinstance(redis.connection_pool, ConnectsConcurrently)


async def test_connection_that_fails_to_open_goes_back_to_the_pool(redis_server: Embedded) -> None:
    async with open_redis(redis_server.url, 5) as redis:
        pool: Any = redis.connection_pool
        connection = await pool.get_connection()
        connection.port, port = 1, connection.port
        await connection.disconnect()
        await pool.release(connection)
        with pytest.raises(RedisConnectionError):
            await redis.ping()
        connection.port = port
        assert await redis.ping()
        assert pool._available_connections == [connection]


async def test_error_of_a_pipeline_is_told_without_the_data_of_its_command(redis_server: Embedded) -> None:
    async with open_redis(redis_server.url, 5) as redis, redis.pipeline(transaction=False) as pipe:
        pipe.set("text", "secret")
        pipe.hset("text", "field", "secret of (somebody) ('x',)")
        with pytest.raises(RedisError) as caught:
            await pipe.execute()
    assert "secret" in str(caught.value)
    assert describe(caught.value) == "WRONGTYPE Operation against a key holding the wrong kind of value"
