"""Behaviour of each team's server; all behave well once the traffic has ended.

The hostile one is in `tests.chaos.hostile`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.hostile import TRICKS, closed_by_peer
from tests.chaos.switches import HOLD, HOSTILE, switch
from tests.chaos.teams import FAR, STRICT

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    Behaviour = Callable[["Exchange"], Awaitable[bool]]
    """Respond; return True if it was a 2xx, so that the event counts as received."""

_MAX_HANG = 30.0
_DRIPPED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_ERRORS = (500, 502, 503, 408, 429, 404)  # 404 is final and makes a dead letter


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that was read, to be answered."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    dice: random.Random
    home: Path
    """Directory of the run, which has the switches."""

    def answer(self, status: int) -> bool:
        """Respond; return True if the status is a 2xx."""
        self.writer.write(f"HTTP/1.1 {status} Chaos\r\nContent-Length: 0\r\n\r\n".encode())
        return status < 300

    async def hang(self) -> bool:
        """Wait until the relay closes the connection; return False."""
        await closed_by_peer(self.reader, _MAX_HANG)
        self.writer.transport.abort()
        return False


async def good(exchange: Exchange) -> bool:
    """Respond at once."""
    return exchange.answer(204)


async def flapping(exchange: Exchange) -> bool:
    """Fail for two of every seven seconds."""
    return exchange.answer(503 if time.monotonic() % 7 < 2 else 204)


async def hanging(exchange: Exchange) -> bool:
    """Never respond, for two of every ten seconds."""
    return exchange.answer(204) if time.monotonic() % 10 >= 2 else await exchange.hang()


async def resetting(exchange: Exchange) -> bool:
    """Reset one connection in six."""
    if exchange.dice.random() < 1 / 6:
        exchange.writer.transport.abort()
        return False
    return exchange.answer(204)


async def dripping(exchange: Exchange) -> bool:
    """Respond byte by byte, in a quarter of a second or, one time in forty, in more than the relay's timeout."""
    pause = 0.2 if exchange.dice.random() < 1 / 40 else 0.01
    for position, byte in enumerate(_DRIPPED):
        if exchange.writer.transport.is_closing():
            return position > _DRIPPED.index(b"\r")  # the status counts, whatever comes of the rest
        exchange.writer.write(bytes([byte]))
        await asyncio.sleep(pause)
    return True


async def erring(exchange: Exchange) -> bool:
    """Fail one time in five."""
    return exchange.answer(exchange.dice.choice(_ERRORS) if exchange.dice.random() < 1 / 5 else 204)


async def hasty(exchange: Exchange) -> bool:
    """Fail one time in five; with one retry only, some of its events are dead-lettered."""
    return exchange.answer(500 if exchange.dice.random() < 1 / 5 else 204)


async def orderly(exchange: Exchange) -> bool:
    """Fail one time in ten, never for good."""
    return exchange.answer(exchange.dice.choice((500, 503, 429)) if exchange.dice.random() < 1 / 10 else 204)


async def far(exchange: Exchange) -> bool:
    """Hold the response while the switch is on."""
    return await exchange.hang() if switch(exchange.home, HOLD).exists() else exchange.answer(204)


async def hostile(exchange: Exchange) -> bool:
    """Break HTTP while the switch is on, in one way after the other."""
    if not switch(exchange.home, HOSTILE).exists():
        return exchange.answer(204)
    await exchange.dice.choice(TRICKS)(exchange.reader, exchange.writer)
    return True


BEHAVIOURS: Mapping[str, Behaviour] = {
    **{each.__name__: each for each in (good, flapping, hanging, resetting, dripping, erring, orderly, hasty, hostile)},
    STRICT: good,
    **dict.fromkeys(FAR, far),
}
"""Behaviours by the name of the team."""
