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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler

    from relay.net.listen_address import Listen

    ProtocolFactory = Callable[[], asyncio.Protocol]
    Malformed = Callable[[str | None, str], None]

_SHUTDOWN_TIMEOUT = 10.0  # seconds for requests in flight
_HANDLER_TIMEOUT = 1.0  # seconds for requests that are still in flight after that
_LINGER_TIMEOUT = 1.0  # seconds that the rest of a body is read after its response, so that the sender can read that
_BACKLOG = 1024  # connections that wait to be accepted; a burst of Linq's is larger than the default of 128

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
        self._count = 0
        self._ended: asyncio.Event | None = None

    @property
    def are_ending(self) -> bool:
        """True if each connection is closed after its next response."""
        return self._ended is not None

    def begin(self) -> None:
        """Count a request that has begun."""
        self._count += 1

    def end(self) -> None:
        """Count a request that has ended, with or without a response."""
        self._count -= 1
        if self._ended is not None and not self._count:
            self._ended.set()

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count the requests of an aiohttp application (middleware)."""
        self.begin()
        try:
            response = await handler(request)
            if self.are_ending:
                response.force_close()
            return response
        finally:
            self.end()

    async def finish(self) -> None:
        """Wait until no request is in flight, with a timeout."""
        self._ended = asyncio.Event()
        if self._count:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
                    await self._ended.wait()


class Front(Protocol):
    """Protocol factory that takes the connections of a listener in place of the application."""

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""

    def close(self) -> None:
        """Close the connections that are still open."""


def _dual_stack_socket(port: int, *, share_port: bool) -> socket.socket:
    """Bind a socket that takes IPv4 and IPv6 connections; asyncio would make one for IPv6 only."""
    return socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=share_port, backlog=_BACKLOG
    )


@asynccontextmanager
async def listening(
    app: web.Application,
    listen: Listen,
    *,
    share_port: bool = False,
    front: Callable[[ProtocolFactory, Requests], Front] | None = None,
    on_malformed: Malformed | None = None,
) -> AsyncIterator[int]:
    """Serve `app` while the context is open; yield the port.

    On exit, it stops accepting connections and drains the requests in flight. With `share_port`, several processes can
    listen on one port (SO_REUSEPORT). A `front` takes the connections; it gets the application's protocol factory, for
    connections that it hands over. `on_malformed` is called with the address of a sender that does not speak HTTP, and
    the name of the error; without it there is a line in the log.

    Raises:
        RelayError: the address is not available.
    """
    web_response.SERVER_SOFTWARE = _SERVER  # type: ignore[attr-defined]  # in place of the versions of aiohttp and Python
    requests = Requests()
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
            place: dict[str, Any] = {"host": listen.host, "port": listen.port, "reuse_port": share_port or None}
            if listen.host == "::" and socket.has_dualstack_ipv6():
                place = {"sock": _dual_stack_socket(listen.port, share_port=share_port)}
            listener = await asyncio.get_running_loop().create_server(
                front_protocol or app_protocol, **place, backlog=_BACKLOG
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise RelayError(f"cannot listen on {listen}: {reason}") from None
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            await requests.finish()
            if front_protocol:
                front_protocol.close()
    finally:
        await runner.cleanup()
