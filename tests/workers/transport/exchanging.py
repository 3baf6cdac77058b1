"""Servers that send scripted responses, and requests to them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.core.config.egress import Egress
from relay.process.timings import DEFAULTS
from tests.chaos.wire import read_message
from tests.support import raw_server
from workers.transport.opening import Destination
from workers.transport.pool import ConnectionPools, Timeouts

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from workers.transport.connection import Response
    from workers.transport.pool import ConnectionPool

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
OK = (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",)
EVERYWHERE = Egress()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read a request and return its body."""
    return (await read_message(reader)).body


@dataclass(slots=True)
class Scripted:
    """A server that sends the `answers` one after the other, each in pieces, and then closes the connection."""

    answers: Sequence[Sequence[bytes]]
    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection has ended."""
    stays: bool = False
    """True if it keeps the connection open after the last answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while len(self.requests) < len(self.answers):
                pieces = self.answers[len(self.requests)]
                self.requests.append(await read_request(reader))
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            if not self.stays:
                return
            await reader.read()
        finally:
            self.hung_up.set()


@asynccontextmanager
async def scripted(
    *answers: Sequence[bytes], stays: bool = False, keep_alive: float = DEFAULTS.keep_alive
) -> AsyncIterator[tuple[Scripted, ConnectionPool]]:
    """Open a server with these answers, and a pool of connections to it."""
    server = Scripted(answers, stays=stays)
    async with raw_server(server.serve) as server.port, ConnectionPools(keep_alive) as connections:
        yield server, connections.pool_for(destination(server.port))


def destination(
    port: int, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", subscription: str = "bot"
) -> Destination:
    return Destination(host, port, tls, EVERYWHERE, subscription)


async def exchange(
    pool: ConnectionPool, request: bytes = REQUEST, *, total: float = 10.0, connect: float = 3.0
) -> Response:
    return await pool.exchange(request, Timeouts(connect, total))
