"""Serving an aiohttp application on an address, and stopping it without cutting anybody off."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from relay.core.errors import RelayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

    from relay.settings import Listen

_SHUTDOWN_PATIENCE = 10.0  # seconds for requests under way
_LAST_CALL = 1.0  # seconds for what is still under way then
_LINGERING = 1.0  # seconds that the rest of a body is read after its answer, so that the sender gets to see the answer
_BACKLOG = 1024  # connections that wait to be accepted; a burst of Linq's is larger than the default of 128

_log = logging.getLogger(__name__)


def _in_a_line(record: logging.LogRecord) -> bool:
    """Has strangers who do not speak HTTP told of in a line, where aiohttp spends a traceback on each."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.exc_info = f"{record.msg}: not HTTP: {type(error).__name__}", None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


_log.addFilter(_in_a_line)


@asynccontextmanager
async def listening(app: web.Application, listen: Listen, *, share_port: bool = False) -> AsyncIterator[int]:
    """Serves `app` while the context is open; gives the port.

    Leaving it stops accepting and answers what is under way. With `share_port` several processes may listen on one port
    (SO_REUSEPORT).

    Raises:
        RelayError: the address cannot be had.
    """
    requests = _Requests()
    app.middlewares.append(requests.watch)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_log,
        auto_decompress=False,  # signatures are over the bytes as they were sent
        shutdown_timeout=_LAST_CALL,
        lingering_time=_LINGERING,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port, reuse_port=share_port or None, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise RelayError(f"cannot listen on {listen}: {why}") from None
        try:
            yield site.port
        finally:
            await site.stop()
            await requests.end()
    finally:
        await runner.cleanup()


class _Requests:
    """The requests under way. aiohttp's own shutdown stops reading at once, which cuts off bodies still being sent."""

    def __init__(self) -> None:
        self._count = 0
        self._ended: asyncio.Event | None = None

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts a request; once we are ending, its connection ends with it."""
        self._count += 1
        try:
            response = await handler(request)
            if self._ended is not None:
                response.force_close()
            return response
        finally:
            self._count -= 1
            if self._ended is not None and not self._count:
                self._ended.set()

    async def end(self) -> None:
        """Waits until none is under way, for a bounded time."""
        self._ended = asyncio.Event()
        if self._count:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SHUTDOWN_PATIENCE):
                    await self._ended.wait()
