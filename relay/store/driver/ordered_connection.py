"""One connection for scripts that must run in the order of their calls, pipelined.

Concurrent calls through a pool go over several connections, and Redis runs them in any order.
Callers must set their own timeouts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from relay.store.driver.replication import NotReplicated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Connection, ConnectionPool, Redis

    Read = Callable[[Connection], Awaitable[Any]]

_LOST = "the connection was lost"


class OrderedConnection:
    """Connects on first use, and again after an error."""

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._wire: _Wire | None = None

    async def aclose(self) -> None:
        """Closes the connection."""
        if self._wire is not None:
            await self._wire.break_off()

    async def exchange(self, packed: bytes, read: Read) -> Any:
        """Send `packed` after what was sent before, and return what `read` makes of its reply."""
        if self._wire is None or self._wire.is_broken:
            self._wire = _Wire(self._pool)
        return await self._wire.exchange(packed, read)


class _Wire:
    """One connection. An error breaks it for all callers: a missed reply would shift those behind it."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.is_broken = False
        self._pool = pool
        self._connection: Any = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
        self._connection.socket_timeout = None  # a task and timers for every call, where callers have theirs already
        self._sending, self._reading = asyncio.Lock(), asyncio.Lock()  # who comes first gets them first
        self._under_way = 0

    async def exchange(self, packed: bytes, read: Read) -> Any:
        self._under_way += 1
        try:
            async with self._sending:
                self._check()
                if self._under_way == 1:  # no pending read would notice that the server has closed it meanwhile
                    await self._pool.ensure_connection(self._connection)
                await self._connection.send_packed_command(packed)
            async with self._reading:
                self._check()
                return await read(self._connection)
        except (ResponseError, NotReplicated):
            raise  # answers like any other
        except BaseException as error:
            was_broken = self.is_broken
            await self.break_off()
            if was_broken and isinstance(error, Exception):  # by another; redis-py stumbles over what it closed itself
                raise RedisConnectionError(_LOST) from error
            raise
        finally:
            self._under_way -= 1

    async def break_off(self) -> None:
        self.is_broken = True
        await self._connection.disconnect(nowait=True)

    def _check(self) -> None:
        if self.is_broken:
            raise RedisConnectionError(_LOST)
