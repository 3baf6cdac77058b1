"""Building blocks that tests share."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import socket
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from relay.process.subprocesses import reserved_port
from relay.store.keys import Keyspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from relay.store.driver.client import Redis

_reservations = ExitStack()
atexit.register(_reservations.close)

KEYS = Keyspace()
"""The names of keys, under the prefix that is the default."""

TIMEOUT = 30.0
"""Seconds after which a condition that is still false is a failure; far more than anything takes."""


@dataclass(slots=True)
class Clock:
    """Clock that stands still, in Unix seconds."""

    now: float

    def __call__(self) -> float:
        return self.now


async def eventually(condition: Callable[[], Any], timeout: float = TIMEOUT) -> Any:
    """Poll `condition`, which may be a coroutine function, and return its first truthy value; fail after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            source = inspect.getsource(getattr(condition, "func", condition))  # that of a partial one
            raise AssertionError(f"was still false after {timeout} s: {source.strip()}")
        await asyncio.sleep(0.01)


def reserve_port() -> int:
    """Reserve a port of 127.0.0.1 until this process ends; only a process that is given it can listen there."""
    return _reservations.enter_context(reserved_port())


def own_address() -> str | None:
    """Return an IPv4 address of this machine other than loopback; None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # for documentation only (RFC 5737); nothing is sent
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if ip_address(address).is_loopback else address


@asynccontextmanager
async def raw_server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """Run a TCP server that passes each connection to `handle` and closes it afterwards; yield the port."""
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
    """Close a connection, whatever the other side did."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def hash_of(redis: Redis, key: str) -> dict[str, str]:
    """Return a hash of Redis as text."""
    rows: dict[bytes, bytes] = await redis.hgetall(key)  # type: ignore[misc]  # typed for redis-py's blocking client as well
    return {name.decode(): value.decode() for name, value in rows.items()}


async def fill_stream(redis: Redis, stream: str, count: int) -> None:
    """Fill a stream with small entries, in one step of Redis: a pipeline takes ten times as long."""
    script = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], n .. '-0', 'id', 'x', 'body', '') end"
    await redis.eval(script, 1, stream, count)  # type: ignore[misc, arg-type]
