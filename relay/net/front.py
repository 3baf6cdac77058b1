"""Front of a listener: takes its connections, and hands over those that it leaves to aiohttp.

aiohttp is imported and started by the first connection that is handed over: it takes 12 MB and a quarter of the start
of a process, and probes and ordinary webhooks never need it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol, Self

from relay.core.errors import RelayError
from relay.net.acceptor import Acceptor, open_listeners

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from relay.net.listen_address import Listen

    ProtocolFactory = Callable[[], asyncio.Protocol]
    Start = Callable[[], Awaitable[AbstractAsyncContextManager[ProtocolFactory]]]

SHUTDOWN_TIMEOUT = 10.0
"""Seconds for requests in flight when a listener closes."""


class Requests:
    """Requests in flight. aiohttp's own shutdown stops reading at once, which cuts off bodies still being sent."""

    def __init__(self) -> None:
        self.are_ending = False
        """True if each connection is closed after its next response."""
        self.ending = asyncio.Event()
        """Set while they are ending, for responses without an end of their own."""
        self.count = 0
        """The number of requests in flight."""
        self._ended = asyncio.Event()

    def end(self, *, are_ending: bool = True) -> None:
        """Close each connection after its next response; with False, keep connections again."""
        self.are_ending = are_ending
        if are_ending:
            self.ending.set()
        else:
            self.ending.clear()

    def begin_one(self) -> None:
        """Count a request."""
        self.count += 1

    def end_one(self) -> None:
        """Count a request no longer."""
        self.count -= 1
        if not self.count:
            self._ended.set()

    async def finish(self) -> None:
        """Wait until no request is in flight, with a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                while self.count:
                    self._ended.clear()
                    await self._ended.wait()


class Handover:
    """aiohttp behind a front. As a context manager, it stops aiohttp, if it was started, when the context is left."""

    def __init__(self, start: Start) -> None:
        """`start` imports aiohttp and returns the context in which it serves."""
        self._start = start
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()
        self.factory: ProtocolFactory | None = None
        """Makes the protocol of a connection that is handed over; None before the first."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def started(self) -> ProtocolFactory:
        """Start aiohttp unless it runs, and return the factory."""
        async with self._starting:
            if self.factory is None:
                self.factory = await self._stack.enter_async_context(await self._start())
            return self.factory


class Front(Protocol):
    """Protocol factory that takes the connections of a listener in place of an application."""

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""

    async def drain(self, timeout: float) -> None:
        """Answer the requests that have begun to arrive, and close each connection; return after `timeout` at last."""

    def close(self) -> None:
        """Close the connections that are still open."""


@asynccontextmanager
async def listening_front(
    front: Front, requests: Requests, listen: Listen | socket.socket, *, share_port: bool = False
) -> AsyncIterator[int]:
    """Let `front` serve an address, or a socket that listens already, while the context is open; yield the port.

    Raises:
        RelayError: the address is not available.
    """
    async with accepting(front, listen, share_port=share_port) as (port, stop):
        try:
            yield port
        finally:
            await stop()
            requests.end()
            await front.drain(SHUTDOWN_TIMEOUT)
            front.close()


@asynccontextmanager
async def accepting(
    factory: Callable[[], asyncio.BaseProtocol], listen: Listen | socket.socket, *, share_port: bool
) -> AsyncIterator[tuple[int, Callable[[], Awaitable[None]]]]:
    """Accept connections while the context is open; yield the port, and what stops it earlier.

    Raises:
        RelayError: the address is not available.
    """
    try:
        listeners = (
            [listen] if isinstance(listen, socket.socket) else await open_listeners(listen, share_port=share_port)
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RelayError(f"cannot listen on {listen}: {reason}") from None
    acceptors = [Acceptor(listener, factory) for listener in listeners]
    port = acceptors[0].port

    async def stop() -> None:
        while acceptors:
            await acceptors.pop(0).close()

    try:
        yield port, stop
    finally:
        await stop()
