"""Behaviour of each team's server; all behave well once the traffic has ended."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, random.Random], Awaitable[bool]]
    """Respond; return True if it was a complete 2xx, so that the event counts as received."""

_MAX_HANG = 30.0
_ERRORS = (500, 502, 503, 408, 429, 404)  # 404 is final and makes a dead letter


async def good(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: random.Random) -> bool:
    """Respond at once."""
    return _answer(writer, 204)


async def flapping(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: random.Random) -> bool:
    """Fail for two of every seven seconds."""
    return _answer(writer, 503 if time.monotonic() % 7 < 2 else 204)


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: random.Random) -> bool:
    """Never respond, for two of every ten seconds."""
    if time.monotonic() % 10 >= 2:
        return _answer(writer, 204)
    await asyncio.wait(
        {asyncio.ensure_future(reader.read(1))}, timeout=_MAX_HANG
    )  # until the relay closes the connection
    writer.transport.abort()
    return False


async def resetting(_: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random) -> bool:
    """Reset one connection in six."""
    if dice.random() < 1 / 6:
        writer.transport.abort()
        return False
    return _answer(writer, 204)


async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random) -> bool:
    """Respond byte by byte, in a quarter of a second or, one time in forty, in more than the relay's timeout."""
    pause = 0.2 if dice.random() < 1 / 40 else 0.01
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
        if writer.transport.is_closing():
            return False
        writer.write(bytes([byte]))
        await asyncio.sleep(pause)
    return not writer.transport.is_closing()


async def erring(_: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random) -> bool:
    """Fail one time in five."""
    return _answer(writer, dice.choice(_ERRORS) if dice.random() < 1 / 5 else 204)


async def hasty(_: asyncio.StreamReader, writer: asyncio.StreamWriter, dice: random.Random) -> bool:
    """Fail one time in five; with one retry only, some of its events are dead-lettered."""
    return _answer(writer, 500 if dice.random() < 1 / 5 else 204)


BEHAVIOURS: Mapping[str, Behaviour] = {
    behaviour.__name__: behaviour for behaviour in (good, flapping, hanging, resetting, dripping, erring, hasty)
}
"""Behaviours by the name of the team."""


def _answer(writer: asyncio.StreamWriter, status: int) -> bool:
    writer.write(f"HTTP/1.1 {status} Chaos\r\nContent-Length: 0\r\n\r\n".encode())
    return status < 300
