"""Shutdown of a server: requests in flight are drained, and no client can delay it forever."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from functools import partial

import aiohttp
import pytest
from aiohttp import web

import relay.net.front
from relay.core.errors import RelayError
from relay.net.front import SHUTDOWN_TIMEOUT
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from tests.support import eventually, hang_up

HERE = Listen(host="127.0.0.1", port=0)
HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf"


class Echo:
    """A server that responds with the request body and signals when a request has begun."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.app = web.Application()
        self.app.router.add_post("/", self._respond)

    async def _respond(self, request: web.Request) -> web.Response:
        self.begun.set()
        return web.Response(body=await request.read())


async def refuses(port: int) -> bool:
    """Return True if the port no longer accepts connections."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    await hang_up(writer)
    return False


@pytest.fixture
def short_shutdown_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay.net.front, "SHUTDOWN_TIMEOUT", 0.05)


async def test_body_in_flight_is_drained_at_shutdown() -> None:
    echo = Echo()
    stop = asyncio.Event()

    async def serve(port: asyncio.Future[int]) -> None:
        async with listening(echo.app, HERE) as listens_on:
            port.set_result(listens_on)
            await stop.wait()

    port = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(port))
    reader, writer = await asyncio.open_connection("127.0.0.1", await port)
    writer.write(HALF)
    await echo.begun.wait()
    stop.set()
    await eventually(partial(refuses, port.result()))
    assert not server.done()
    writer.write(b"half")
    response = await reader.read()  # reads to EOF: the connection is closed
    assert response.startswith(b"HTTP/1.1 200")
    assert response.endswith(b"halfhalf")
    await server
    await hang_up(writer)


async def test_address_in_use_is_an_error() -> None:
    async with listening(Echo().app, HERE) as port:
        with pytest.raises(RelayError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            async with listening(Echo().app, Listen(host="127.0.0.1", port=port)):
                pass


@pytest.mark.usefixtures("short_shutdown_timeout")
async def test_endless_body_does_not_block_shutdown() -> None:
    echo = Echo()
    async with listening(echo.app, HERE) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HALF)
        await echo.begun.wait()
        began = time.monotonic()
    assert 0.05 <= time.monotonic() - began < SHUTDOWN_TIMEOUT - 1
    await hang_up(writer)


async def test_idle_connections_do_not_block_shutdown() -> None:
    async with aiohttp.ClientSession() as client, listening(Echo().app, HERE) as port:
        async with client.post(f"http://127.0.0.1:{port}/", data=b"x") as response:
            assert (response.status, await response.read()) == (200, b"x")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    await hang_up(writer)


async def test_malformed_http_is_logged_in_a_single_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with listening(Echo().app, HERE) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n")
        assert b"400" in await reader.readline()
        await hang_up(writer)
    [record] = [record for record in caplog.records if record.name == "relay.net.http_listener"]
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert record.getMessage().startswith("Error handling request from 127.0.0.1: not HTTP: ")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
async def test_ipv6_wildcard_also_serves_ipv4() -> None:
    async with listening(Echo().app, Listen(host="::", port=0)) as port, aiohttp.ClientSession() as http:
        for host in ("127.0.0.1", "[::1]"):
            async with http.post(f"http://{host}:{port}/", data=b"hello") as response:
                assert await response.read() == b"hello"
