"""A connection that aiohttp serves, under the same limits as the others.

The protocol forwards what arrives to aiohttp's, and learns from a middleware when a request begins and ends: before
that its head is arriving, after that the connection is idle. aiohttp's own timeout covers idle connections alone, and
it reads nothing more to the end of a stream: a half-closed connection would lose its response.

What aiohttp has buffered is not visible. The bytes held are therefore counted from above: all of a request, and after
its response the last segment, which may contain the beginning of the next.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.web.connection import Connection
from relay.web.connections import LARGE

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler

    from relay.web.connections import Connections

_SETTLE = 0.1  # seconds after which a request that has wholly arrived has begun, and a response is written
_TURNS = 30  # of the loop that aiohttp gets after that: after a pause of the process, a timer is the first to run


class HandedOver(Connection):
    """A connection between a transport and aiohttp's protocol."""

    def __init__(self, connections: Connections, protocol: asyncio.Protocol) -> None:
        """`protocol` is aiohttp's, still without a connection."""
        super().__init__(connections)
        self._protocol = protocol
        self._request: web.Request | None = None  # from its head to its response
        self._recent = 0  # bytes that may belong to the next request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the connection with aiohttp."""
        super().connection_made(transport)
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell aiohttp, and give its place free."""
        super().connection_lost(exc)
        self._protocol.connection_lost(exc)
        self._protocol = asyncio.Protocol()  # not in a cycle: what it has buffered is freed at once

    def data_received(self, data: bytes) -> None:
        """Forward what has arrived."""
        connections = self._connections
        if self._request is None and self.queue is not connections.head:
            connections.wait(self, connections.head)
        if self._request is None or not self._request.content.is_eof():
            self._recent = 0
        self._recent += len(data)
        connections.hold(self, self.held + len(data))
        if self.held > LARGE and (delay := connections.pace(len(data))) and not self._transport.is_closing():
            self.pause(delay, lambda: self._protocol.data_received(data))
        else:
            self._protocol.data_received(data)

    def eof_received(self) -> bool:
        """Keep the connection open: the sender reads its response."""
        self.is_half_closed = True
        self._loop.call_later(_SETTLE, self._close_if_answered, _TURNS)
        return True  # the connection stays open for the response

    def begin(self, request: web.Request) -> None:
        """Note that the head of a request has arrived."""
        self._request = request
        if request.content.is_eof():
            self._connections.handle(self)
        else:
            self._connections.wait(self, self._connections.body)

    def has_body(self) -> None:
        """Note that its body has arrived."""
        self._connections.handle(self)

    def displace(self) -> bool:
        """Close the connection whose body has been arriving longest, other than this; return False without one."""
        return self._connections.close_slowest_body(self)

    def end(self) -> None:
        """Note that its response is being written."""
        self._request = None
        if self._transport.is_closing():
            return
        self._connections.hold(self, self._recent)
        self._connections.wait(self, self._connections.idle)
        if self.is_half_closed:
            self._loop.call_later(_SETTLE, self._close_if_answered, _TURNS)

    def _close_if_answered(self, turns: int) -> None:
        """Close a half-closed connection unless a request is being handled, in so many turns of the loop.

        A request that is not whole stays so.
        """
        if self._request is not None and self.queue is None:
            return
        if turns:
            self._loop.call_soon(self._close_if_answered, turns - 1)
        else:
            self._transport.close()


def connection_of(request: web.Request) -> HandedOver | None:
    """Return the connection of `request`; None if it is closed, or served by aiohttp alone."""
    protocol = request.transport.get_protocol() if request.transport else None
    return protocol if isinstance(protocol, HandedOver) else None


async def read_body(request: web.Request) -> bytes:
    """Return the body of a request; after it the request has no deadline, so that its response may be a stream."""
    body = await request.read()
    if connection := connection_of(request):
        connection.has_body()
    return body


async def follow(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection when its request begins and ends (a middleware, once it is marked as one)."""
    connection = connection_of(request)
    if connection is None:
        return await handler(request)
    connection.begin(request)
    try:
        return await handler(request)
    finally:
        connection.end()
