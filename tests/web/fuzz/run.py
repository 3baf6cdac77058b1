"""Sends mutated requests, several on a connection, in segments; collects what was answered."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from tests.web.fuzz.mutations import mutated

_PARALLEL = 96
_TIMEOUT = 10.0  # seconds for the server to answer and close a half-closed connection
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")
_CODE = re.compile(rb'"code":"(\w+)"')
_DELIBERATE = frozenset({"secret_unknown"})  # of the 503s: no secret for the line that the mutated URL names


@dataclass(slots=True)
class Found:
    """Result of a run."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    """Number of 503s by code."""
    faults: list[str] = field(default_factory=list)
    """Each fault with the seed of its connection."""


async def fuzz(port: int, count: int, seed: int, now: float) -> Found:
    """Send `count` mutated requests to a local port; `now` is the time of their signatures."""
    found = Found()
    seeds = iter(range(seed, seed + count))

    async def send() -> None:
        for own in seeds:
            if found.requests >= count:
                return
            await _converse(port, own, now, found)

    async with asyncio.TaskGroup() as senders:
        for _ in range(_PARALLEL):
            senders.create_task(send())
    return found


async def _converse(port: int, seed: int, now: float, found: Found) -> None:
    chance = random.Random(seed)
    requests = [mutated(chance, now) for _ in range(chance.randint(1, 4))]
    found.requests += len(requests)
    text = b"".join(requests)
    source = f"127.0.0.{chance.randint(2, 250)}"  # more ports than one address has, and a budget of failures for each
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    answered = bytearray()
    deadline: asyncio.Timeout | None = None
    try:
        with suppress(OSError, RuntimeError):  # refused in the middle; uvloop raises the latter
            cut = chance.randrange(len(text) + 1) if chance.random() < 0.3 else 0
            for segment in filter(None, (text[:cut], text[cut:])):
                writer.write(segment)
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(_TIMEOUT) as deadline:
                while part := await reader.read(65536):
                    answered += part
        if deadline is not None and deadline.expired():
            found.faults.append(f"seed {seed}: neither answered nor closed: {text[:500]!r}")
    finally:
        writer.transport.abort()
    _check(bytes(answered), seed, found)


def _check(answered: bytes, seed: int, found: Found) -> None:
    for response in re.split(rb"(?=HTTP/\d\.\d \d{3} )", answered):
        if not (match := _STATUS.match(response)):
            if response:
                found.faults.append(f"seed {seed}: no HTTP: {response[:200]!r}")
            continue
        status = int(match[1])
        found.statuses[status] += 1
        code = _CODE.search(response)
        if status == 503 and code:
            found.codes[code[1].decode()] += 1
        if status >= 500 and not (status == 503 and code and code[1].decode() in _DELIBERATE):
            found.faults.append(f"seed {seed}: {response[:500]!r}")
