"""Serving an aiohttp application on an address."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.settings import Listen

_SHUTDOWN_PATIENCE = 10.0  # seconds for requests under way
_LINGERING = 1.0  # seconds that the rest of a body is read after its answer, so that the sender gets to see the answer
_BACKLOG = 1024  # connections that wait to be accepted; a burst of Linq's is larger than the default of 128


@asynccontextmanager
async def listening(app: web.Application, listen: Listen, *, share_port: bool = False) -> AsyncIterator[int]:
    """Serves `app` while the context is open; gives the port.

    Leaving it stops accepting and answers what is under way. With `share_port` several processes may listen on one port
    (SO_REUSEPORT).
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # signatures are over the bytes as they were sent
        shutdown_timeout=_SHUTDOWN_PATIENCE,
        lingering_time=_LINGERING,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, listen.host, listen.port, reuse_port=share_port or None, backlog=_BACKLOG)
        await site.start()
        yield site.port
    finally:
        await runner.cleanup()
