"""HTTP listener: serves an aiohttp application on an address, and drains requests in flight before it stops."""

from __future__ import annotations

import logging
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web, web_response

from relay.net.front import Requests, accepting, listening_front

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from aiohttp.typedefs import Handler, Middleware

    from relay.net.front import Front, ProtocolFactory
    from relay.net.listen_address import Listen

    Malformed = Callable[[str | None, str], None]

_HANDLER_TIMEOUT = 1.0  # seconds for requests that are still in flight after the others
_LINGER_TIMEOUT = 1.0  # seconds that the rest of a body is read after its response, so that the sender can read that

_DISCONNECTED = 499  # of nginx: the client closed the connection

_SERVER = "linq-relay"
_MALFORMED = "aiohttp.http_exceptions"  # module of the errors; not documented: if it moves, tracebacks return

_log = logging.getLogger(__name__)


class _AppLog(logging.LoggerAdapter[logging.Logger]):
    """The log of an aiohttp application, in which malformed HTTP is no traceback."""

    def __init__(self, on_malformed: Malformed | None) -> None:
        super().__init__(_log)
        self._on_malformed = on_malformed

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, or report malformed HTTP."""
        error = kwargs.get("exc_info")
        if error is None or type(error).__module__ != _MALFORMED:
            super().log(level, msg, *args, **kwargs)
            return
        traceback.clear_frames(error.__traceback__)  # one of them has the error: a cycle that would hold what was sent
        if self._on_malformed is None:
            _log.info("%s: not HTTP: %s", str(msg) % args, type(error).__name__)
        else:
            [remote] = args or [None]
            self._on_malformed(str(remote) if remote else None, type(error).__name__)


REQUESTS = web.AppKey("requests", Requests)
"""The requests in flight of an application that listens."""


def is_disconnected(request: web.Request) -> bool:
    """Return True if the connection of a request is closed, by its client or by a deadline."""
    return request.transport is None or request.transport.is_closing()


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
    requests = requests or Requests()
    async with serving_app(app, requests, on_malformed) as app_protocol:
        if front:
            async with listening_front(front(app_protocol, requests), requests, listen, share_port=share_port) as port:
                yield port
            return
        async with accepting(app_protocol, listen, share_port=share_port) as (port, stop):
            try:
                yield port
            finally:
                await stop()
                requests.end()
                await requests.finish()


@asynccontextmanager
async def serving_app(
    app: web.Application, requests: Requests, on_malformed: Malformed | None = None
) -> AsyncIterator[ProtocolFactory]:
    """Run `app` while the context is open; yield what makes the protocol of a connection."""
    web_response.SERVER_SOFTWARE = _SERVER  # type: ignore[attr-defined]  # in place of the versions of aiohttp and Python
    app[REQUESTS] = requests
    app.middlewares.append(_counting(requests))
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_AppLog(on_malformed),
        auto_decompress=False,  # signatures cover the bytes as they were sent
        shutdown_timeout=_HANDLER_TIMEOUT,
        lingering_time=_LINGER_TIMEOUT,
    )
    await runner.setup()
    server: Any = runner.server
    try:
        yield server
    finally:
        await runner.cleanup()


def _counting(requests: Requests) -> Middleware:
    """Return a middleware that counts the requests of an application, and forgets those whose client is gone."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        requests.begin_one()
        try:
            response = await handler(request)
        except ConnectionError:
            if not is_disconnected(request):
                raise
            return web.Response(status=_DISCONNECTED)  # no client reads it; aiohttp would log a traceback
        else:
            if requests.are_ending:
                response.force_close()
            return response
        finally:
            requests.end_one()

    return count
