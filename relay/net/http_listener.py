"""Serving an aiohttp application on an address, and stopping it without cutting anybody off."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from relay.core.errors import RelayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler

    from relay.net.listen_address import Listen

    ProtocolFactory = Callable[[], asyncio.Protocol]

_SHUTDOWN_TIMEOUT = 10.0  # seconds for requests under way
_LAST_CALL = 1.0  # seconds for what is still under way then
_LINGER_TIMEOUT = (
    1.0  # seconds that the rest of a body is read after its answer, so that the sender gets to see the answer
)
_BACKLOG = 1024  # connections that wait to be accepted; a burst of Linq's is larger than the default of 128

_log = logging.getLogger(__name__)


def _in_a_line(record: logging.LogRecord) -> bool:
    """Has strangers who do not speak HTTP told of in a line, where aiohttp spends a traceback on each."""
    error = record.exc_info[1] if record.exc_info else None
    if type(error).__module__ == "aiohttp.http_exceptions":  # not documented; if it moves, tracebacks return
        record.msg, record.exc_info = f"{record.msg}: not HTTP: {type(error).__name__}", None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


_log.addFilter(_in_a_line)


class Requests:
    """The requests under way. aiohttp's own shutdown stops reading at once, which cuts off bodies still being sent."""

    def __init__(self) -> None:
        self._count = 0
        self._ended: asyncio.Event | None = None

    @property
    def are_ending(self) -> bool:
        """Whether each connection is to end with its next answer."""
        return self._ended is not None

    def begin(self) -> None:
        """One more is under way."""
        self._count += 1

    def end(self) -> None:
        """One has been answered, or will not be."""
        self._count -= 1
        if self._ended is not None and not self._count:
            self._ended.set()

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts those of an aiohttp application."""
        self.begin()
        try:
            response = await handler(request)
            if self.are_ending:
                response.force_close()
            return response
        finally:
            self.end()

    async def finish(self) -> None:
        """Waits until none is under way, for a bounded time."""
        self._ended = asyncio.Event()
        if self._count:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
                    await self._ended.wait()


class Front(Protocol):
    """Takes the connections of a listener in the application's place; a factory of protocols."""

    def __call__(self) -> asyncio.BaseProtocol:
        """Takes a connection."""

    def close(self) -> None:
        """Closes those that are still open."""


@asynccontextmanager
async def listening(
    app: web.Application,
    listen: Listen,
    *,
    share_port: bool = False,
    front: Callable[[ProtocolFactory, Requests], Front] | None = None,
) -> AsyncIterator[int]:
    """Serves `app` while the context is open; gives the port.

    Leaving it stops accepting and answers what is under way. With `share_port` several processes may listen on one port
    (SO_REUSEPORT). A `front` takes the connections; it gets what makes the application's own of them.

    Raises:
        RelayError: the address cannot be had.
    """
    requests = Requests()
    app.middlewares.append(requests.watch)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log,
        auto_decompress=False,  # signatures are over the bytes as they were sent
        shutdown_timeout=_LAST_CALL,
        lingering_time=_LINGER_TIMEOUT,
    )
    await runner.setup()
    makes_connections: Any = runner.server
    before = front(makes_connections, requests) if front else None
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(
                before or makes_connections, listen.host, listen.port, reuse_port=share_port or None, backlog=_BACKLOG
            )
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise RelayError(f"cannot listen on {listen}: {why}") from None
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            await requests.finish()
            if before:
                before.close()
    finally:
        await runner.cleanup()
