"""New connections: refused, not opened in time, and not trusted."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from relay.core.config.egress import Egress
from relay.net.resolver import Refused
from tests.certificates import Authority, tls_server
from tests.support import raw_server, reserve_port
from tests.workers.transport.exchanging import OK, REQUEST, Scripted, destination, exchange, scripted
from workers.transport.connection import DeadlineExceeded, NoResponse
from workers.transport.opening import Destination
from workers.transport.pool import ConnectionPools

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


async def test_refused_destination_is_not_connected_to() -> None:
    server = Scripted([OK])
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(Destination("127.0.0.1", port, None, Egress(allow=("10.0.0.0/8",)), "bot"))
        with pytest.raises(Refused, match=r"127\.0\.0\.1 is not in allow"):
            await exchange(pool)
    assert server.connections == 0


async def test_closed_port_is_an_error() -> None:
    async with ConnectionPools() as connections:
        port = reserve_port()
        with pytest.raises(NoResponse, match=rf"^no connection to 127\.0\.0\.1:{port}: .*onnect"):
            await exchange(connections.pool_for(destination(port)))


def mute_listener() -> socket.socket:
    """Return a socket that accepts no connection, since its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    return listener


async def full(listener: socket.socket) -> list[socket.socket]:
    """Fill the queue of `listener`, and return the connections."""
    loop, waiting = asyncio.get_running_loop(), []
    while True:
        client = socket.socket()
        client.setblocking(False)  # noqa: FBT003  its only argument
        waiting.append(client)
        try:
            async with asyncio.timeout(0.2):
                await loop.sock_connect(client, listener.getsockname())
        except TimeoutError:
            return waiting


@pytest.mark.parametrize(
    ("connect", "total", "reason"),
    [(0.05, 10.0, "^no connection within 50ms$"), (10.0, 0.05, "^no response within 50ms$")],
)
async def test_connection_attempt_times_out(connect: float, total: float, reason: str) -> None:
    with mute_listener() as listener:
        waiting = await full(listener)
        async with ConnectionPools() as connections:
            with pytest.raises(DeadlineExceeded, match=reason):
                await exchange(
                    connections.pool_for(destination(listener.getsockname()[1])), connect=connect, total=total
                )
        for client in waiting:
            client.close()


async def test_tls_handshake_times_out() -> None:
    async with scripted([], stays=True) as (server, _), ConnectionPools() as connections:
        context = ssl.create_default_context(cadata=Authority().pem)
        with pytest.raises(DeadlineExceeded, match=r"^no connection within 50ms$"):
            await exchange(connections.pool_for(destination(server.port, context)), connect=0.05)


@pytest.mark.parametrize("is_known", [True, False])
async def test_certificate_must_be_trusted(tmp_path: Path, *, is_known: bool) -> None:
    authority = Authority()
    trusted = ssl.create_default_context(cadata=authority.pem if is_known else Authority().pem)
    shown: list[tuple[str, float]] = []
    connections = ConnectionPools(on_certificate=lambda *certificate: shown.append(certificate))
    async with tls_server(authority, tmp_path) as (url, accepted), connections:
        pool = connections.pool_for(destination(int(url.rpartition(":")[2].strip("/")), trusted))
        if is_known:
            assert [(await exchange(pool, REQUEST)).status for _ in range(2)] == [204, 204]
            assert len(accepted) == 1
            [(subscription, expires)] = shown
            assert (subscription, round((expires - time.time()) / 60)) == ("bot", 60)
        else:
            with pytest.raises(NoResponse, match=r"^the subscriber's certificate was rejected: .*verify failed"):
                await exchange(pool, REQUEST)


async def test_server_without_tls_is_an_error() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(refuse) as port, ConnectionPools() as connections:
        with pytest.raises(NoResponse, match="no connection to"):
            await exchange(connections.pool_for(destination(port, ssl.create_default_context())))


@pytest.mark.parametrize(
    "test",
    [test_closed_port_is_an_error, test_tls_handshake_times_out, test_server_without_tls_is_an_error],
)
def test_behaviour_is_the_same_on_uvloop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
