"""Servers around the relay: a cheap sink, the ceiling of the load generator, and the floor of the ingress.

    python -m tests.bench.servers protocol PORT     responds to every request at once, from a bare asyncio Protocol
    python -m tests.bench.servers aiohttp PORT      reads the body and responds 200, on aiohttp and uvloop

The first one is also the sink: it never responds to `/hang`, does not count `/cured`, and returns at `GET /stats` what
it got since the last call.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

from aiohttp import web

from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.process.event_loop import run
from tests.bench.events import due_ms_of
from tests.bench.load import content_length

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(slots=True)
class Stats:
    """Requests that a sink got."""

    count: int = 0
    first: float = 0.0
    """Time of the first, Unix seconds."""
    last: float = 0.0
    late_ms: list[float] = field(default_factory=list)
    """Milliseconds from the time at which each was due."""


class Sink(asyncio.Protocol):
    """Connection of the sink."""

    stats = Stats()

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + content_length(self._got[:end])
            if len(self._got) < whole:
                return
            request, self._got = self._got[:whole], self._got[whole:]
            self._answer(request, request[end + 4 :])

    def _answer(self, request: bytes, body: bytes) -> None:
        if request.startswith(b"GET /stats"):
            text = json.dumps(asdict(Sink.stats)).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            Sink.stats = Stats()
        elif request.startswith((b"GET ", b"POST /cured")):
            self._transport.write(_OK)
        elif not request.startswith(b"POST /hang"):
            record(Sink.stats, body)
            self._transport.write(_OK)


def record(stats: Stats, body: bytes) -> None:
    """Count a POST."""
    now = time.time()
    stats.count += 1
    stats.first = stats.first or now
    stats.last = now
    stats.late_ms.append(round(now * 1000 - due_ms_of(body), 2))


async def serve_protocol(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    await server.serve_forever()


async def serve_aiohttp(port: int) -> None:
    """Serve until the process is ended."""

    async def receive(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receive)
    async with listening(app, Listen(host="127.0.0.1", port=port)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    run({"protocol": serve_protocol, "aiohttp": serve_aiohttp}[sys.argv[1]](int(sys.argv[2])))
