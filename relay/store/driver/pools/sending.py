"""Two gaps of redis-py in how a connection sends a command.

With a timeout it writes in a task of its own, for which it waits with `asyncio.wait_for`. Before Python 3.12 that loses
a cancellation which arrives as it succeeds (https://github.com/python/cpython/issues/86296): a loop over Redis went on,
and a busy worker that was to stop took 1 to 10 seconds longer. Without the task nothing is lost, and a command takes
less CPU.

Where a connection is lost while it is being opened, uvloop raises an error that redis-py lets through.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

_UVLOOP_CLOSED = "the handler is closed"


class SendsByItself:
    """A mixin for connections: a command is written by the task that calls."""

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  redis-py's signature
        """Send; the timeout and a connection that was closed meanwhile are redis-py's own errors."""
        connection: Any = self
        parent: Any = super()
        if not connection.is_connected:
            await connection.connect()  # has a timeout of its own for each try
        seconds, connection.socket_timeout = connection.socket_timeout, None
        try:
            async with asyncio.timeout(seconds):
                await parent.send_packed_command(command, check_health)
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        except RuntimeError as error:
            # uvloop has no exception of its own for a closed transport, so its text is all there is to match:
            # `_ensure_alive` in https://github.com/MagicStack/uvloop/blob/master/uvloop/handles/handle.pyx
            if _UVLOOP_CLOSED not in str(error):
                raise
            raise RedisConnectionError("the connection was closed") from error
        finally:
            connection.socket_timeout = seconds
