"""Memory of connections and failed requests: it is freed with them, without a run of the cyclic garbage collector.

A worker that delivers to many has thousands of connections a minute, and Python collects old objects rarely.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.garbage import garbage_of
from tests.support import TIMEOUT, eventually, raw_server, reserve_port
from tests.workers.transport.exchanging import OK, destination, exchange, read_request
from workers.transport.connection import NoResponse
from workers.transport.pool import ConnectionPools, Timeouts

if TYPE_CHECKING:
    from pathlib import Path

OURS = ("workers.", "httptools.", "uvloop.")
KEEP_ALIVE = 0.05  # seconds


@pytest.mark.parametrize(
    "answer",
    [
        OK[0],
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf",
        b"no HTTP\r\n\r\n",
        b"",
    ],
    ids=["kept", "closed", "broken off", "no HTTP", "no response"],
)
async def test_connection_is_freed_once_closed(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await read_request(reader)
            writer.write(answer)
            while answer == OK[0]:
                await read_request(reader)
                writer.write(answer)

    async with raw_server(serve) as port, ConnectionPools(KEEP_ALIVE) as connections:
        pool = connections.pool_for(destination(port))
        with garbage_of(*OURS) as garbage:
            for _ in range(3):
                with suppress(NoResponse):
                    await exchange(pool, total=TIMEOUT)
            await eventually(lambda: not connections._open)
    assert not garbage


async def test_connection_that_timed_out_is_freed() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await reader.read()

    async with raw_server(hang) as port, ConnectionPools() as connections:
        pool = connections.pool_for(destination(port))
        with garbage_of(*OURS) as garbage:
            for _ in range(3):
                with suppress(NoResponse):
                    await pool.exchange(b"POST / HTTP/1.1\r\n\r\n", Timeouts(0.05, 0.05))
            await eventually(lambda: not connections._open)
    assert not garbage


async def test_connection_that_cannot_be_opened_is_freed() -> None:
    async with ConnectionPools() as connections:
        pool = connections.pool_for(destination(reserve_port()))
        with garbage_of(*OURS) as garbage:
            for _ in range(3):
                with suppress(NoResponse):
                    await exchange(pool)
    assert not garbage


@pytest.mark.parametrize("is_trusted", [True, False], ids=["trusted", "refused"])
async def test_tls_connection_is_freed(tmp_path: Path, *, is_trusted: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await read_request(reader)
                writer.write(OK[0])

    authority = Authority()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.server_context(tmp_path))
    trusted = ssl.create_default_context(cadata=(authority if is_trusted else Authority()).pem)
    port = server.sockets[0].getsockname()[1]
    async with server, ConnectionPools(KEEP_ALIVE) as connections:
        pool = connections.pool_for(destination(port, trusted))
        with garbage_of("workers.", "httptools.") as garbage:
            with suppress(NoResponse):
                await exchange(pool)
            await eventually(lambda: not connections._open)
    assert not garbage
