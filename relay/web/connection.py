"""An open connection of the ingress, and its place among the others (`web.connections`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.web.connections import Connections, Queue


class Connection(asyncio.Protocol):
    """Base of the protocols that read requests."""

    def __init__(self, connections: Connections) -> None:
        self.queue: Queue | None = None
        """The queue in which the connection waits; `Connections` sets it, and `held`."""
        self.held = 0
        """Bytes of requests that are not whole yet."""
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self.is_half_closed = False  # the sender sends no more, and may still read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection, or close it if there is no room."""
        self._transport = cast("asyncio.Transport", transport)
        if self._connections.add(self):
            self._connections.wait(self, self._connections.unused)
        else:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Unregister the connection."""
        self._connections.remove(self)

    def pause_writing(self) -> None:
        """Disconnect a sender that does not read its responses."""
        self._transport.abort()

    def pause(self, seconds: float, then: Callable[[], None]) -> None:
        """Read nothing for so long, and call `then`; the kernel's buffers slow the sender down."""
        self._transport.pause_reading()
        self._loop.call_later(seconds, self._resume, then)

    def _resume(self, then: Callable[[], None]) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
            then()

    def delay(self) -> None:
        """Let the connection wait for its refusal: it is the first to make room for another one."""
        if not self._transport.is_closing():
            self._connections.wait(self, self._connections.delayed)

    def close(self) -> None:
        """Close the connection, also in the middle of a request."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # the sender does not read: closing would wait for it
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()
