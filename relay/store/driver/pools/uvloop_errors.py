"""A gap in redis-py: the error that uvloop raises where a connection is lost while it is being opened."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

_UVLOOP_CLOSED = "the handler is closed"


class TranslatesUvloopErrors:
    """A mixin for connections: if one is lost while it is being opened, uvloop raises a RuntimeError."""

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        """Send; a connection that was closed meanwhile is redis-py's own error."""
        parent: Any = super()
        try:
            await parent.send_packed_command(*arguments, **options)
        except RuntimeError as error:
            # uvloop has no exception of its own for a closed transport, so its text is all there is to match:
            # `_ensure_alive` in https://github.com/MagicStack/uvloop/blob/master/uvloop/handles/handle.pyx
            if _UVLOOP_CLOSED not in str(error):
                raise
            raise RedisConnectionError("the connection was closed") from error
