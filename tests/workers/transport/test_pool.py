"""The choice of a connection for a request."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from relay.core.config.egress import Egress
from tests.certificates import Authority
from tests.support import eventually, raw_server
from tests.workers.transport.exchanging import OK, REQUEST, Scripted, destination, exchange, read_request, scripted
from workers.transport.connection import NoResponse
from workers.transport.opening import Destination
from workers.transport.pool import ConnectionPools
from workers.transport.shortage import OurShortage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from workers.transport.pool import ConnectionPool


async def test_connection_is_reused() -> None:
    async with scripted(OK, OK, OK) as (server, pool):
        for _ in range(3):
            assert (await exchange(pool)).status == 200
        assert server.connections == 1


@pytest.mark.parametrize(
    "last",
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n",),
        (OK[0] + OK[0],),
        (OK[0] + b"and more",),
    ],
    ids=["close", "1.0", "another protocol", "two answers", "surplus"],
)
async def test_connection_that_cannot_be_reused_is_closed(last: tuple[bytes, ...]) -> None:
    async with scripted(last, OK, stays=True) as (server, pool):
        assert (await exchange(pool)).status in {101, 200}
        await server.hung_up.wait()
        assert (await exchange(pool)).status == 200
        assert server.connections == 2


async def test_http_1_0_connection_can_be_kept() -> None:
    keeps = (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",)
    async with scripted(keeps, OK) as (server, pool):
        assert [(await exchange(pool)).status for _ in range(2)] == [200, 200]
        assert server.connections == 1


async def test_unsolicited_response_costs_the_connection() -> None:
    hello = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK[0])
        await hello.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await reader.read()

    async with raw_server(talk) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        await exchange(pool)
        [connection] = pool.idle
        hello.set()
        await eventually(lambda: not connection.is_free)


async def test_connection_closed_by_the_server_is_not_used() -> None:
    async with scripted(OK) as (server, pool):
        await exchange(pool)
        [connection] = pool.idle
        await eventually(lambda: not connection.is_free)
        server.answers = [*server.answers, OK]
        assert (await exchange(pool)).status == 200
        assert server.connections == 2


@pytest.mark.parametrize("surplus", [OK[0], b"H", b""], ids=["second response", "a byte", "end"])
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["plain", "tls"])
async def test_unread_surplus_is_not_the_next_response(tmp_path: Path, surplus: bytes, *, is_encrypted: bool) -> None:
    """A server must not answer a request in advance; the bytes wait in the socket, where the loop has not read them."""
    authority = Authority()
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await read_request(reader)
            requests += 1
            writer.write(OK[0] if requests == 1 else b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
            writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(
        serve, "127.0.0.1", 0, ssl=authority.server_context(tmp_path) if is_encrypted else None
    )
    trusted = ssl.create_default_context(cadata=authority.pem) if is_encrypted else None
    async with server, ConnectionPools() as connections:
        pool = connections.pool_for(destination(server.sockets[0].getsockname()[1], trusted))
        assert (await exchange(pool)).status == 200
        [writer] = writers
        if surplus:
            writer.write(surplus)  # reaches the socket at once
        else:
            writer.transport.abort() if is_encrypted else writer.close()
            await asyncio.sleep(0) if is_encrypted else None
        assert pool.idle[0].is_free
        assert (await exchange(pool)).status == 500


async def test_subscriptions_of_one_address_share_no_connection() -> None:
    async with scripted(OK, OK, stays=True) as (server, pool), ConnectionPools() as connections:
        for name in ("bot", "crm"):
            await exchange(connections.pool_for(destination(server.port, subscription=name)))
        assert server.connections == 2
        assert not pool.idle


async def test_idle_connections_are_closed() -> None:
    async with scripted(OK, OK, stays=True, keep_alive=0.05) as (server, pool):
        await exchange(pool)
        await server.hung_up.wait()
        assert not pool.idle
        await exchange(pool)
        assert server.connections == 2


async def test_connection_past_its_keep_alive_is_not_used() -> None:
    async with scripted(OK, OK, stays=True, keep_alive=0.05) as (server, pool):
        await exchange(pool)
        time.sleep(0.06)  # noqa: ASYNC251  the timer that closes idle connections must not run meanwhile
        assert len(pool.idle) == 1
        await exchange(pool)
        assert server.connections == 2


async def test_last_used_connection_is_used_first() -> None:
    together = asyncio.Barrier(3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await together.wait()
        writer.write(OK[0])
        await read_request(reader)
        again.append(writer)
        writer.write(OK[0])
        await reader.read()

    again: list[asyncio.StreamWriter] = []
    async with raw_server(serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        await asyncio.gather(*(exchange(pool) for _ in range(3)))
        idle = pool.idle
        assert len(set(idle)) == 3
        await exchange(pool)
        assert pool.idle == idle


async def test_all_connections_are_closed_at_exit() -> None:
    server = Scripted([OK, ()], stays=True)
    async with raw_server(server.serve) as port:
        async with ConnectionPools() as connections:
            pool = connections.pool_for(destination(port))
            await exchange(pool)
            in_use = asyncio.create_task(exchange(pool))
            await eventually(lambda: len(server.requests) == 2)
        with pytest.raises(OurShortage, match="the relay is stopping"):
            await in_use
        await server.hung_up.wait()


async def test_exchange_on_a_closed_connection_is_an_error() -> None:
    async with scripted(OK) as (_, pool):
        await exchange(pool)
        [connection] = pool.idle
        await connection.ended
        with pytest.raises(NoResponse, match="closed the connection"):
            connection.send(REQUEST, lambda _: None)


async def test_exit_does_not_wait_for_tls_close_notify(tmp_path: Path) -> None:
    authority = Authority()
    left, closed = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK[0])
        await writer.drain()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it does not even see that the client closes
        await left.wait()
        writer.transport.abort()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_context(tmp_path))
    trusted = ssl.create_default_context(cadata=authority.pem)
    async with server, asyncio.timeout(20):
        async with ConnectionPools() as connections:
            pool = connections.pool_for(destination(server.sockets[0].getsockname()[1], trusted))
            assert (await exchange(pool)).status == 200
        left.set()
        await closed.wait()


async def test_equal_destinations_share_a_pool() -> None:
    async with ConnectionPools() as connections:
        pool = connections.pool_for(destination(1))
        assert connections.pool_for(destination(1)) is pool
        for other in (
            destination(2),
            destination(1, host="localhost"),
            destination(1, ssl.create_default_context()),
            destination(1, subscription="crm"),
            Destination("127.0.0.1", 1, None, Egress(allow=("127.0.0.0/8",)), "bot"),
        ):
            assert connections.pool_for(other) is not pool


async def test_pool_lives_as_long_as_it_is_used() -> None:
    async with ConnectionPools() as connections:
        pool: ConnectionPool | None = connections.pool_for(destination(1))
        assert len(connections._pools) == 1
        del pool
        assert len(connections._pools) == 0


@pytest.mark.parametrize(
    "test",
    [
        test_connection_is_reused,
        test_http_1_0_connection_can_be_kept,
        test_unsolicited_response_costs_the_connection,
        test_connection_closed_by_the_server_is_not_used,
        test_last_used_connection_is_used_first,
        test_all_connections_are_closed_at_exit,
        test_exchange_on_a_closed_connection_is_an_error,
    ],
)
def test_behaviour_is_the_same_on_uvloop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
