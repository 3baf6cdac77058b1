"""Minimal HTTP/1.1: messages with a length, over keep-alive connections.

It costs the sender and the servers a fraction of what a library does, which leaves the machine to the relay.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

_MAX_HEAD = 64 * 1024


class Message(NamedTuple):
    """A request or a response."""

    first: str
    """The request line or the status line."""
    headers: dict[str, str]
    """Headers by their names in lower case."""
    body: bytes

    @property
    def status(self) -> int:
        """Status of a response."""
        return int(self.first.split(" ", 2)[1])

    @property
    def path(self) -> str:
        """Path of a request."""
        return self.first.split(" ", 2)[1]


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read the next message of a connection.

    Raises:
        IncompleteReadError: the connection ended.
        ValueError: its body has no length.
    """
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "transfer-encoding" in headers:
        raise ValueError("a body without a length")
    return Message(first, headers, await reader.readexactly(int(headers.get("content-length", 0))))


class Client:
    """Client of one address, with a pool of connections."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, headers: dict[str, str], body: bytes, timeout: float) -> Message:
        """Post a request and return the response.

        Raises:
            OSError, EOFError, TimeoutError, ValueError: no response within `timeout` seconds, or no HTTP.
        """
        reader = writer = None
        try:
            async with asyncio.timeout(timeout):
                reader, writer = self._kept() or await self._connect()
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
                writer.write(head.encode() + body)
                answer = await read_message(reader)
        except BaseException:
            if writer is not None:
                writer.transport.abort()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return an idle connection that the server has not closed, if there is one."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.transport.is_closing():
                return reader, writer
            writer.close()
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=_MAX_HEAD)
