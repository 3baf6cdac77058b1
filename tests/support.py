"""Small things that tests share."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relay.process.subprocesses import reserved_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

_reservations = ExitStack()
atexit.register(_reservations.close)

TIMEOUT = 15.0
"""Seconds after which a condition that does not hold is a failure; far more than anything takes."""


@dataclass(slots=True)
class Clock:
    """Unix seconds, standing still."""

    now: float

    def __call__(self) -> float:
        return self.now


async def eventually(condition: Callable[[], Any], patience: float = TIMEOUT) -> Any:
    """The first truthy value of `condition`, which may be a coroutine function; fails when it does not come."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {patience} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)


def reserve_port() -> int:
    """Reserve a port of 127.0.0.1 until this process ends; nothing listens on it but what is given it."""
    return _reservations.enter_context(reserved_port())


@asynccontextmanager
async def raw_server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A TCP server that does with its connections what `handle` says, and closes them after it; gives the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes a connection for good, whatever the other side did."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def hash_of(redis: Redis, key: str) -> dict[str, str]:
    """A hash of Redis, as text."""
    rows: dict[bytes, bytes] = await redis.hgetall(key)  # type: ignore[misc]  # typed for redis-py's blocking client as well
    return {name.decode(): value.decode() for name, value in rows.items()}
