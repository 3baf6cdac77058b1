"""Responses that break HTTP: unasked ones, wrong lengths, early ends, endless heads.

A connection stays open after a trick where that is possible, so that the relay may be tempted to use it again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Trick = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_ERROR = b"HTTP/1.1 500 Chaos\r\nContent-Length: 0\r\n\r\n"
_LATER = 0.02  # seconds: the connection may be idle by then, or used again
_MAX_TRICKLE = 8.0  # seconds, more than the timeout of the team
_PAUSE = 0.01


async def closed_by_peer(reader: asyncio.StreamReader, most: float) -> None:
    """Wait until the relay closes the connection, in whichever way, for at most so many seconds."""
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(reader.read(1), most)


def _send(*parts: bytes, pause: float = _LATER, closes: bool = False) -> Trick:
    """Return a trick that sends `parts` with pauses between them."""

    async def trick(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for position, part in enumerate(parts):
            if position:
                await asyncio.sleep(pause)
            writer.write(part)
        if closes:
            writer.close()

    return trick


def _send_forever(start: bytes, part: bytes) -> Trick:
    """Return a trick that sends `part` until the relay closes the connection."""

    async def trick(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for _step in range(int(_MAX_TRICKLE / _PAUSE)):
            if writer.transport.is_closing():
                return
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(_PAUSE)
        writer.transport.abort()

    return trick


def _stall(start: bytes) -> Trick:
    """Return a trick that sends `start` and waits until the relay closes the connection."""

    async def trick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await closed_by_peer(reader, _MAX_TRICKLE)
        writer.transport.abort()

    return trick


async def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


TRICKS: Sequence[Trick] = (
    _send(_OK + _OK),
    _send(_OK, _OK),
    _send(_OK, _OK * 50),
    _send(_ERROR + _OK),
    _send(_ERROR, _OK),
    _send(_ERROR, b"HTTP/1.1 2"),
    _send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"),
    _send(b"HTTP/1.1 500 Chaos\r\nContent-Length: 2\r\n\r\n" + b"no" + _OK),
    _send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", closes=True),
    _send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    _send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    _send(b"HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n" + _OK),
    _send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" + _OK),
    _send(b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    _send(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + _OK),
    _send(b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + _ERROR),
    _send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + _OK),
    _send(b"HTTP/1.1 500 Chaos\r\n", closes=True),
    _send(b"HTTP/1.1 200 OK\r\n\r\n", b"a body until the end", closes=True),
    _send(b"SSH-2.0-OpenSSH_9.2\r\n", _OK),
    _send(b"\r\n" * 20 + _ERROR),
    _send(b"", closes=True),
    _reset,
    _stall(b""),
    _stall(b"HTTP/1.1 500 Chaos\r\nContent-Length: 9\r\n\r\nhalf"),
    _stall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf"),
    _send_forever(b"HTTP/1.1 200 OK\r\n", b"X-Endless: header\r\n" * 20),
    _send_forever(b"HTTP/1.1 500 Chaos\r\nX-Endless: ", b"a" * 400),
    _send_forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nagain\r\n" * 20),
    _send_forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
)
"""Every trick."""
