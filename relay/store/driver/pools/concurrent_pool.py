"""A pool whose callers do not wait for each other.

redis-py opens a new connection, and checks an idle one, under one lock of the pool. A worker with several shards opens
dozens of connections to each when it starts, one after the other; with `redis+cluster://` each of them asks a node for
the primary first. A lease that was to be renewed meanwhile waited for all of them, longer than it lasts, and a server
that did not answer held up every caller for the time limit of each new connection.

The lock protects nothing that needs it here: taking a connection from the pool is one step of the event loop.
"""

from __future__ import annotations

from typing import Any


class ConnectsConcurrently:
    """A mixin for pools: connections are opened and checked side by side."""

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return a connection that is connected and has nothing to read."""
        pool: Any = self
        connection = pool.get_available_connection()
        try:
            await pool.ensure_connection(connection)
        except BaseException:
            await pool.release(connection)
            raise
        return connection
