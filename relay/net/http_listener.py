"""HTTP listener: serves an aiohttp application on an address, and drains requests in flight before it stops."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web, web_response

from relay.core.errors import RelayError
from relay.net.acceptor import Acceptor, open_listeners

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aiohttp.typedefs import Handler

    from relay.net.listen_address import Listen

    ProtocolFactory = Callable[[], asyncio.Protocol]
    Malformed = Callable[[str | None, str], None]

_SHUTDOWN_TIMEOUT = 10.0  # seconds for requests in flight
_HANDLER_TIMEOUT = 1.0  # seconds for requests that are still in flight after that
_LINGER_TIMEOUT = 1.0  # seconds that the rest of a body is read after its response, so that the sender can read that

_DISCONNECTED = 499  # of nginx: the client closed the connection

_SERVER = "linq-relay"

_log = logging.getLogger(__name__)


class _AppLog(logging.LoggerAdapter[logging.Logger]):
    """The log of an aiohttp application, in which malformed HTTP is no traceback."""

    def __init__(self, on_malformed: Malformed | None) -> None:
        super().__init__(_log)
        self._on_malformed = on_malformed

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, or report malformed HTTP."""
        error = kwargs.get("exc_info")
        if type(error).__module__ != "aiohttp.http_exceptions":  # not documented; if it moves, tracebacks return
            super().log(level, msg, *args, **kwargs)
        elif self._on_malformed is None:
            _log.info("%s: not HTTP: %s", str(msg) % args, type(error).__name__)
        else:
            [remote] = args or [None]
            self._on_malformed(str(remote) if remote else None, type(error).__name__)


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

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the requests of an aiohttp application; forget those whose client is gone (middleware)."""
        self.count += 1
        try:
            response = await handler(request)
        except ConnectionError:
            if not is_disconnected(request):
                raise
            return web.Response(status=_DISCONNECTED)  # nobody reads it; aiohttp would log a traceback
        else:
            if self.are_ending:
                response.force_close()
            return response
        finally:
            self.count -= 1
            if not self.count:
                self._ended.set()

    async def finish(self) -> None:
        """Wait until no request is in flight, with a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
                while self.count:
                    self._ended.clear()
                    await self._ended.wait()


REQUESTS = web.AppKey("requests", Requests)
"""The requests in flight of an application that listens."""


def is_disconnected(request: web.Request) -> bool:
    """Return True if the connection of a request is closed, by its client or by a deadline."""
    return request.transport is None or request.transport.is_closing()


class Front(Protocol):
    """Protocol factory that takes the connections of a listener in place of the application."""

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""

    async def drain(self, timeout: float) -> None:
        """Answer the requests that have begun to arrive, and close each connection; return after `timeout` at last."""

    def close(self) -> None:
        """Close the connections that are still open."""


@asynccontextmanager
async def listening(
    app: web.Application,
    listen: Listen | socket.socket,
    *,
    share_port: bool = False,
    front: Callable[[ProtocolFactory, Requests], Front] | None = None,
    on_malformed: Malformed | None = None,
    requests: Requests | None = None,
) -> AsyncIterator[int]:
    """Serve `app` at an address, or on a socket that listens already, while the context is open; yield the port.

    On exit, it stops accepting connections and drains the requests in flight. With `share_port`, several processes can
    listen on one port (SO_REUSEPORT). A `front` takes the connections; it gets the application's protocol factory, for
    connections that it hands over. `on_malformed` is called with the address of a sender that does not speak HTTP, and
    the name of the error; without it there is a line in the log. With `requests` of its own, a caller can let the
    connections end before it stops listening.

    Raises:
        RelayError: the address is not available.
    """
    web_response.SERVER_SOFTWARE = _SERVER  # type: ignore[attr-defined]  # in place of the versions of aiohttp and Python
    requests = requests or Requests()
    app[REQUESTS] = requests
    app.middlewares.append(requests.watch)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_AppLog(on_malformed),
        auto_decompress=False,  # signatures cover the bytes as they were sent
        shutdown_timeout=_HANDLER_TIMEOUT,
        lingering_time=_LINGER_TIMEOUT,
    )
    await runner.setup()
    app_protocol: Any = runner.server
    front_protocol = front(app_protocol, requests) if front else None
    try:
        try:
            listeners = await _listeners(listen, share_port=share_port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise RelayError(f"cannot listen on {listen}: {reason}") from None
        acceptors = [Acceptor(listener, front_protocol or app_protocol) for listener in listeners]
        try:
            yield acceptors[0].port
        finally:
            for acceptor in acceptors:
                await acceptor.close()
            requests.end()
            if front_protocol:
                await front_protocol.drain(_SHUTDOWN_TIMEOUT)
                front_protocol.close()
            else:
                await requests.finish()
    finally:
        await runner.cleanup()


async def _listeners(listen: Listen | socket.socket, *, share_port: bool) -> Sequence[socket.socket]:
    return [listen] if isinstance(listen, socket.socket) else await open_listeners(listen, share_port=share_port)
