from __future__ import annotations

import asyncio

import pytest

from tests.chaos.wire import Client, read_message
from tests.support import raw_server


async def test_messages_share_one_connection() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            message = await read_message(reader)
            assert (message.path, message.headers["x-a"]) == ("/somewhere", "b")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(message.body), message.body))

    async with raw_server(serve) as port:
        client = Client("127.0.0.1", port)
        for body in (b"", b"hello"):
            answer = await client.post("/somewhere", {"X-A": "b"}, body, 5)
            assert (answer.status, answer.body) == (200, body)
        client.close()
    assert connections == 1


async def test_silent_server_costs_the_timeout_and_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(serve) as port:
        with pytest.raises(TimeoutError):
            await Client("127.0.0.1", port).post("/", {}, b"", 0.05)


async def test_closed_connection_is_an_error() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")

    async with raw_server(serve) as port:
        with pytest.raises((EOFError, OSError)):
            await Client("127.0.0.1", port).post("/", {}, b"", 5)


async def test_body_without_a_length_is_rejected() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(ValueError, match="without a length"):
        await read_message(reader)
