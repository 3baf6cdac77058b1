"""The read of the inbox that waits for the next entries, sent together with the commit of those before them.

While batches are small, the inbox is empty after a commit, and the router waits. Sent with the commit, the read costs
neither a write of its own nor another turn of Redis: a third of a round trip's CPU for each event. The connection is
the router's own, since a read that waits blocks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiredis import pack_command

from relay.process.time_limit import TimeLimit
from relay.store.driver.client import WORKER_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Connection

    from relay.store.driver.client import Redis
    from relay.store.driver.ordered_connection import Read


class NextRead:
    """The reads of one router. There is at most one at a time, and it starts at the beginning of the inbox."""

    def __init__(self, redis: Redis, count: int, block_ms: int) -> None:
        """Read up to `count` entries, waiting up to `block_ms` for the first."""
        self.absent = redis.key.absent
        self._pool = redis.connection_pool
        self._command: bytes = pack_command(
            ("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", redis.key.inbox, "0")  # type: ignore[arg-type]
        )
        self._connection: Connection | None = None
        self._is_sent = False
        self._limit = TimeLimit(WORKER_TIMEOUT)

    async def exchange(self, packed: Sequence[bytes], read: Read) -> Any:
        """Send the pieces of `packed` and the next read, and return the reply to `packed` as `read` parses it."""
        try:
            with self._limit:
                connection = await self._open()
                await connection.send_packed_command([*packed, self._command])
                reply = await read(connection)
        except BaseException:  # also an error that Redis has replied: the reply to the read is of no use then
            await self.aclose()
            raise
        self._is_sent = True
        return reply

    async def rows(self) -> list[tuple[bytes, list[bytes]]]:
        """Return the entries, ids with flat fields, of the read that was sent, or of one that is sent now."""
        try:
            with self._limit:
                connection = await self._open()
                if not self._is_sent:
                    await connection.send_packed_command(self._command)
                reply: Any = await connection.read_response()
        except BaseException:
            await self.aclose()
            raise
        self._is_sent = False
        streams = reply.items() if isinstance(reply, dict) else reply or ()  # the former in RESP3
        return [row for _, rows in streams for row in rows]

    async def aclose(self) -> None:
        """Close the connection, and forget the read that was sent."""
        connection, self._connection, self._is_sent = self._connection, None, False
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _open(self) -> Connection:
        if self._connection is None:
            connection: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no types here
            connection.socket_timeout = None  # costs a task and a timer per call; the limit is above
            await self._pool.ensure_connection(connection)
            self._connection = connection
        return self._connection
