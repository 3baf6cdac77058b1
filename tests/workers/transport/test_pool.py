"""Which connection a request goes out on, and how a new one is made."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import uvloop

import workers.transport.pool
from relay.core.config.egress import Egress
from relay.net.resolver import Refused
from tests.certificates import Authority, tls_server
from tests.support import eventually, raw_server, reserve_port
from tests.workers.transport.exchanging import OK, REQUEST, Scripted, destination, exchange, read_request, scripted
from workers.transport.connection import DeadlineExceeded, NoResponse
from workers.transport.pool import ConnectionPools, Destination

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from workers.transport.pool import ConnectionPool


async def test_a_connection_is_used_again() -> None:
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
async def test_an_answer_may_cost_its_connection(last: tuple[bytes, ...]) -> None:
    async with scripted(last, OK, stays=True) as (server, pool):
        assert (await exchange(pool)).status in {101, 200}
        await server.hung_up.wait()
        assert (await exchange(pool)).status == 200
        assert server.connections == 2


async def test_http_1_0_may_keep_its_connection() -> None:
    keeps = (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",)
    async with scripted(keeps, OK) as (server, pool):
        assert [(await exchange(pool)).status for _ in range(2)] == [200, 200]
        assert server.connections == 1


async def test_what_is_said_unasked_costs_the_connection() -> None:
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


async def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    async with scripted(OK) as (server, pool):
        await exchange(pool)
        [connection] = pool.idle
        await eventually(lambda: not connection.is_free)
        server.answers = [*server.answers, OK]
        assert (await exchange(pool)).status == 200
        assert server.connections == 2


async def test_a_request_that_crosses_the_end_of_its_connection_is_not_repeated() -> None:
    """Whether it arrived is not known: that is for the retries to decide."""

    async def read_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK[0])
        requests.append(await read_request(reader))

    requests: list[bytes] = []
    async with raw_server(read_and_close) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        await exchange(pool)
        with pytest.raises(NoResponse, match="closed the connection"):
            await exchange(pool)
    assert requests == [b"{}"]


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.transport.pool, "_KEEP_ALIVE", 0.05)
    async with scripted(OK, OK, stays=True) as (server, pool):
        await exchange(pool)
        await server.hung_up.wait()
        assert not pool.idle
        await exchange(pool)
        assert server.connections == 2


async def test_one_that_was_idle_for_too_long_is_not_used_though_nobody_has_closed_it_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scripted(OK, OK, stays=True) as (server, pool):
        await exchange(pool)
        monkeypatch.setattr(workers.transport.pool, "_KEEP_ALIVE", 0.0)
        await exchange(pool)
        assert server.connections == 2


async def test_the_one_used_last_is_used_first_and_each_request_in_flight_has_its_own() -> None:
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


async def test_all_are_closed_at_the_end_also_those_in_use() -> None:
    server = Scripted([OK, ()], stays=True)
    async with raw_server(server.serve) as port:
        async with ConnectionPools() as connections:
            pool = connections.pool_for(destination(port))
            await exchange(pool)
            in_use = asyncio.create_task(exchange(pool))
            await eventually(lambda: len(server.requests) == 2)
        with pytest.raises(NoResponse):
            await in_use
        await server.hung_up.wait()


async def test_one_that_closed_as_soon_as_it_was_open_gives_no_answer() -> None:
    async with scripted(OK) as (_, pool):
        await exchange(pool)
        [connection] = pool.idle
        await connection.ended.wait()
        with pytest.raises(NoResponse, match="closed the connection"):
            await connection.exchange(REQUEST, 0.0, 0.0)


async def test_the_end_does_not_wait_for_a_farewell_that_does_not_come(tmp_path: Path) -> None:
    authority = Authority()
    went, over = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK[0])
        await writer.drain()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it does not even see that the client takes its leave
        await went.wait()
        writer.transport.abort()
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_context(tmp_path))
    trusted = ssl.create_default_context(cadata=authority.pem)
    async with server, asyncio.timeout(5):
        async with ConnectionPools() as connections:
            pool = connections.pool_for(destination(server.sockets[0].getsockname()[1], trusted))
            assert (await exchange(pool)).status == 200
        went.set()
        await over.wait()


async def test_lanes_that_lead_to_the_same_place_share_connections_and_others_do_not() -> None:
    async with ConnectionPools() as connections:
        pool = connections.pool_for(destination(1))
        assert connections.pool_for(destination(1)) is pool
        for other in (
            destination(2),
            destination(1, host="localhost"),
            destination(1, ssl.create_default_context()),
            Destination("127.0.0.1", 1, None, Egress(allow=("127.0.0.0/8",))),
        ):
            assert connections.pool_for(other) is not pool


async def test_a_destination_that_is_refused_is_not_connected_to() -> None:
    server = Scripted([OK])
    async with raw_server(server.serve) as port, ConnectionPools() as connections:
        pool = connections.pool_for(Destination("127.0.0.1", port, None, Egress(allow=("10.0.0.0/8",))))
        with pytest.raises(Refused, match=r"127\.0\.0\.1 is not in allow"):
            await exchange(pool)
    assert server.connections == 0


async def test_nobody_listens() -> None:
    async with ConnectionPools() as connections:
        port = reserve_port()
        with pytest.raises(NoResponse, match=rf"^no connection to 127\.0\.0\.1:{port}: .*onnect"):
            await exchange(connections.pool_for(destination(port)))


def mute_listener() -> socket.socket:
    """A socket that takes no connection: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    return listener


async def full(listener: socket.socket) -> list[socket.socket]:
    """Connections that fill the queue of `listener`."""
    loop, waiting = asyncio.get_running_loop(), []
    while True:
        one = socket.socket()
        one.setblocking(False)  # noqa: FBT003  its only argument
        waiting.append(one)
        try:
            async with asyncio.timeout(0.2):
                await loop.sock_connect(one, listener.getsockname())
        except TimeoutError:
            return waiting


@pytest.mark.parametrize(
    ("connect", "total", "why"),
    [(0.05, 10.0, "^no connection within 50ms$"), (10.0, 0.05, "^no answer within 50ms$")],
)
async def test_a_connection_that_does_not_come_is_given_up(connect: float, total: float, why: str) -> None:
    with mute_listener() as listener:
        waiting = await full(listener)
        async with ConnectionPools() as connections:
            with pytest.raises(DeadlineExceeded, match=why):
                await exchange(
                    connections.pool_for(destination(listener.getsockname()[1])), connect=connect, total=total
                )
        for one in waiting:
            one.close()


async def test_a_handshake_that_does_not_come_is_given_up() -> None:
    async with scripted([], stays=True) as (server, _), ConnectionPools() as connections:
        context = ssl.create_default_context(cadata=Authority().pem)
        with pytest.raises(DeadlineExceeded, match=r"^no connection within 50ms$"):
            await exchange(connections.pool_for(destination(server.port, context)), connect=0.05)


@pytest.mark.parametrize("is_known", [True, False])
async def test_the_certificate_has_to_be_good(tmp_path: Path, *, is_known: bool) -> None:
    authority = Authority()
    trusted = ssl.create_default_context(cadata=authority.pem if is_known else Authority().pem)
    async with tls_server(authority, tmp_path) as (url, accepted), ConnectionPools() as connections:
        pool = connections.pool_for(destination(int(url.rpartition(":")[2].strip("/")), trusted))
        if is_known:
            assert [(await exchange(pool, REQUEST)).status for _ in range(2)] == [204, 204]
            assert len(accepted) == 1
        else:
            with pytest.raises(NoResponse, match=r"^its certificate is not accepted: .*verify failed"):
                await exchange(pool, REQUEST)


async def test_a_server_that_does_not_speak_tls() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(refuse) as port, ConnectionPools() as connections:
        with pytest.raises(NoResponse, match="no connection to"):
            await exchange(connections.pool_for(destination(port, ssl.create_default_context())))


async def test_a_pool_lives_as_long_as_somebody_uses_it() -> None:
    async with ConnectionPools() as connections:
        pool: ConnectionPool | None = connections.pool_for(destination(1))
        assert len(connections._pools) == 1
        del pool
        assert len(connections._pools) == 0


@pytest.mark.parametrize(
    "test",
    [
        test_a_connection_is_used_again,
        test_http_1_0_may_keep_its_connection,
        test_what_is_said_unasked_costs_the_connection,
        test_a_connection_that_the_server_has_closed_is_not_used,
        test_a_request_that_crosses_the_end_of_its_connection_is_not_repeated,
        test_the_one_used_last_is_used_first_and_each_request_in_flight_has_its_own,
        test_all_are_closed_at_the_end_also_those_in_use,
        test_one_that_closed_as_soon_as_it_was_open_gives_no_answer,
        test_nobody_listens,
        test_a_handshake_that_does_not_come_is_given_up,
        test_a_server_that_does_not_speak_tls,
    ],
)
def test_it_is_the_same_on_the_loop_of_a_worker(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
