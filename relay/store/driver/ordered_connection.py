"""A connection for scripts that must run in the order of their calls, pipelined.

Concurrent calls through a pool go over several connections, and Redis runs them in any order. It also costs less: a
pool checks a connection whenever it hands it out, and redis-py starts a task and two timers for each call.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from math import inf
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from relay.process.time_limit import TimeLimit
from relay.store.driver.replication import NotReplicated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Connection, ConnectionPool

    from relay.store.driver.client import Redis

    Read = Callable[[Connection], Awaitable[Any]]

_LOST = "the connection was lost"
_FRESH = 0.1
"""Seconds from a reply until the connection is checked before its next use. The check takes a turn of the loop, a timer
and two exceptions, and a server that has restarted since would hardly accept connections yet.
"""


class OrderedConnection:
    """A connection that opens on first use, and again after an error."""

    def __init__(self, redis: Redis, timeout: float | None = None) -> None:
        """A call may take `timeout` seconds; without it, callers must set their own."""
        self.absent = redis.key.absent
        """The key that scripts are given on a cluster (`keys`)."""
        self._pool = redis.connection_pool
        self._limit = nullcontext() if timeout is None else TimeLimit(timeout)
        self._pipeline: _Pipeline | None = None

    async def aclose(self) -> None:
        """Close the connection."""
        if self._pipeline is not None:
            await self._pipeline.abort()

    async def exchange(self, packed: Sequence[bytes], read: Read) -> Any:
        """Send the pieces of `packed` after all earlier calls, and return its reply as `read` parses it."""
        if self._pipeline is None or self._pipeline.is_broken:
            self._pipeline = _Pipeline(self._pool)
        with self._limit:
            return await self._pipeline.exchange(packed, read)


class _Pipeline:
    """A single connection. An error breaks it for all callers: a missed reply would shift the later ones."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.is_broken = False
        self._pool = pool
        self._connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
        # These cost a task and a timer per call, and callers have timeouts. That of the pool for connecting is short:
        # a process that is short of CPU would never open the connection again.
        self._connection.socket_timeout = self._connection.socket_connect_timeout = None
        self._sending, self._reading = asyncio.Lock(), asyncio.Lock()  # both are FIFO
        self._in_flight = 0
        self._loop = asyncio.get_running_loop()
        self._replied_at = -inf  # time of the loop's clock

    async def exchange(self, packed: Sequence[bytes], read: Read) -> Any:
        self._in_flight += 1
        try:
            async with self._sending:
                self._check()
                # Without a pending read, a close by the server goes unnoticed.
                if self._in_flight == 1 and self._loop.time() - self._replied_at > _FRESH:
                    await self._pool.ensure_connection(self._connection)
                await self._connection.send_packed_command(packed)
            async with self._reading:
                self._check()
                reply = await read(self._connection)
                self._replied_at = self._loop.time()
                return reply
        except (ResponseError, NotReplicated):
            raise  # replies like any other: the connection is intact
        except BaseException as error:
            was_broken = self.is_broken
            await self.abort()
            if was_broken and isinstance(error, Exception):  # by another call; redis-py then fails in odd ways
                raise RedisConnectionError(_LOST) from error
            raise
        finally:
            self._in_flight -= 1

    async def abort(self) -> None:
        self.is_broken = True
        await self._connection.disconnect(nowait=True)

    def _check(self) -> None:
        if self.is_broken:
            raise RedisConnectionError(_LOST)
