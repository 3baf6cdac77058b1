from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from relay.store.driver.client import REDIS_ERRORS, open_redis

if TYPE_CHECKING:
    from relay.process.embedded_redis import Embedded


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
    assert "the handler is closed" in str(caught.value.__cause__)  # `failover_pool` matches uvloop's text
