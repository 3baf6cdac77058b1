"""Requests as bytes and their responses."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.building import SECRET, body_of, signed
from tests.chaos.wire import read_message
from tests.conftest import NOW
from tests.support import hang_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.chaos.wire import Message

TARGET = "/webhooks/linq?version=2026-02-03&line=16465550123&gen=1"


def request_of(event_id: str = "e1", target: str = TARGET, size: int = 0, **more: str) -> bytes:
    """Return a signed POST as bytes, with further headers."""
    body = body_of(event_id=event_id, text="x" * size)
    headers = signed(body, NOW, SECRET) | {name.replace("_", "-"): value for name, value in more.items()}
    if "Transfer-Encoding" not in headers:
        headers.setdefault("Content-Length", str(len(body)))
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n" + body


def chunked_request() -> bytes:
    """Return a signed, chunked POST without a length."""
    head, _, body = request_of(Transfer_Encoding="chunked").partition(b"\r\n\r\n")
    return head + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@asynccontextmanager
async def connection(port: int, first: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to a local port; `first` is there when a server of this process accepts it.

    On a busy machine, a deadline of some hundredths of a second could pass between the connection and the first byte.
    """
    client = socket.create_connection(("127.0.0.1", port))  # blocks for a moment: the kernel completes it
    client.sendall(first)
    client.setblocking(False)  # noqa: FBT003  its only argument
    reader, writer = await asyncio.open_connection(sock=client)
    try:
        yield reader, writer
    finally:
        await hang_up(writer)


async def response_of(reader: asyncio.StreamReader) -> Message:
    """Return the next response that is not 100 Continue."""
    while (response := await read_message(reader)).status == 100:
        pass
    return response


async def conversation(port: int, segments: Sequence[bytes], count: int = 1) -> list[Message]:
    """Return `count` responses to `segments`, and the one to a further webhook if the connection is kept."""
    responses = []
    async with connection(port) as (reader, writer):
        for segment in segments:
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0.002)  # so that the server receives it separately
        try:
            for _ in range(count):
                responses.append(await response_of(reader))  # noqa: PERF401  those before a closed connection count
            writer.write(request_of("further"))
            responses.append(await response_of(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # closed
    return [essence(response) for response in responses]


def essence(response: Message) -> Message:
    """Return a response without what may differ: its date, the name of the server, the type of no body."""
    ignored = {"date", "server"} | (set() if response.body else {"content-type"})
    return response._replace(headers={name: value for name, value in response.headers.items() if name not in ignored})
