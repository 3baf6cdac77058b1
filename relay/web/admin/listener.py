"""The admin listener: serves `/live`, `/ready` and `/metrics`, with deadlines and limits as the public one has.

It needs few connections, and each probe opens a new one; so a client that is slow, or keeps many connections, is the
first to be disconnected. With a portal (the API and the pages) it has more, but a part of them is never busy with the
portal, so that probes are answered however many requests and streams that has.

A process of a group has its listener on a socket that the supervisor opened and passed on (`web.admin.group`).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from relay.config.admin_address import WORKER, admin_address
from relay.core.errors import RelayError
from relay.core.lazy_modules import LazyModule
from relay.net.front import Handover, Requests, listening_front
from relay.net.listen_address import Listen
from relay.process.imports import import_later
from relay.process.timings import DEFAULTS
from relay.web.admin.probes import ProbeFront, probes_of
from relay.web.connections import Connections, Limits
from relay.web.handed_over import HandedOver

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from relay.config.settings import Settings
    from relay.net import http_listener
    from relay.net.front import ProtocolFactory
    from relay.process.timings import Timings
    from relay.web.admin import app as admin_app
    from relay.web.admin.app import Portal
    from relay.web.admin.report import Observed
else:  # aiohttp, which a process without a portal does without
    http_listener = LazyModule("relay.net.http_listener")
    admin_app = LazyModule("relay.web.admin.app")

PASSED_SOCKET = "_RELAY_ADMIN_SOCKET"
"""Variable with the descriptor of the listening socket that a supervisor passes on."""

_NOT_LISTENING = "this worker has no /ready and no /metrics: set RELAY_ADMIN_LISTEN to an address of its own"
_NOT_ENCRYPTED = (
    "tokens and sessions of the API and the page can be read on the way: let only a proxy with TLS reach this address, "
    "or listen on 127.0.0.1 (RELAY_ADMIN_LISTEN)"
)
_LIMITS = Limits(connections=64, unverified=4 * 1024 * 1024, idle=75.0)
_PORTAL_LIMITS = Limits(connections=1024, unverified=32 * 1024 * 1024, idle=75.0)

log = structlog.get_logger()


class AdminFront:
    """The connections of an admin listener: a factory of protocols that aiohttp serves, within limits."""

    def __init__(self, aiohttp: ProtocolFactory, requests: Requests, limits: Limits, timings: Timings) -> None:
        del requests  # its middleware closes the connections
        self._aiohttp = aiohttp
        self._connections = Connections(limits, timings)

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _AdminConnection(self._connections, self._aiohttp())

    async def drain(self, timeout: float) -> None:
        """Answer the requests that have begun to arrive; close idle connections."""
        self._connections.close_idle()
        await self._connections.drained(timeout)

    def close(self) -> None:
        """Close every open connection."""
        self._connections.close()


class _AdminConnection(HandedOver):
    """A connection whose responses may be large: the client has a while to read them."""

    def pause_writing(self) -> None:
        """Let aiohttp wait until the client has read more."""
        self._protocol.pause_writing()
        self._connections.wait(self, self._connections.sending)

    def resume_writing(self) -> None:
        """Let aiohttp write on."""
        self._protocol.resume_writing()
        if self._request is None:
            self._connections.wait(self, self._connections.idle)
        else:
            self._connections.handle(self)


@asynccontextmanager
async def listening_for_operators(  # noqa: PLR0913  its bounds are arguments for tests
    observed: Observed,
    settings: Settings,
    role: str,
    *,
    portal: Portal | None = None,
    share_port: bool = False,
    limits: Limits | None = None,
    timings: Timings = DEFAULTS,
) -> AsyncIterator[int | None]:
    """Serve the admin listener of `role` while the context is open; yield its port.

    `portal` has the applications of the API and the pages, by path.
    A worker without RELAY_ADMIN_LISTEN continues without it (None) if its default port is taken: several may run on one
    machine.

    Raises:
        RelayError: the address is not available.
    """
    bounds = limits or (_PORTAL_LIMITS.fitting() if portal else _LIMITS)
    passed = os.environ.get(PASSED_SOCKET)
    address = socket.socket(fileno=int(passed)) if passed else admin_address(settings, role)
    async with AsyncExitStack() as stack:
        port = None
        serving = (
            _serving(observed, portal, address, bounds, timings, share_port=share_port)
            if portal
            else _probed(observed, address, bounds, timings, share_port=share_port)
        )
        try:
            port = await stack.enter_async_context(serving)
        except RelayError as error:
            if role != WORKER or settings.relay_admin_listen is not None:
                raise RelayError(f"{error} (the admin listener; RELAY_ADMIN_LISTEN is its address)") from None
            log.warning("admin.not_listening", reason=str(error), note=_NOT_LISTENING)
        else:
            if not passed:
                log.info("admin.listening", address=str(address), port=port)
            if portal and isinstance(address, Listen) and not address.is_loopback:
                log.warning("admin.not_encrypted", address=str(address), note=_NOT_ENCRYPTED)
        for part in (portal or {}).values():
            stack.push_async_callback(part.shutdown)  # before the requests in flight are awaited: streams have no end
        yield port


def _serving(
    observed: Observed,
    portal: Portal,
    address: Listen | socket.socket,
    bounds: Limits,
    timings: Timings,
    *,
    share_port: bool,
) -> AbstractAsyncContextManager[int]:
    """Serve the probes and the portal with aiohttp."""

    def front(aiohttp: ProtocolFactory, requests: Requests) -> AdminFront:
        return AdminFront(aiohttp, requests, bounds, timings)

    busy = max(bounds.connections - _LIMITS.connections, bounds.connections // 2)
    return http_listener.listening(
        admin_app.admin_app(observed, portal, busy), address, share_port=share_port, front=front
    )


@asynccontextmanager
async def _probed(
    observed: Observed, address: Listen | socket.socket, bounds: Limits, timings: Timings, *, share_port: bool
) -> AsyncIterator[int]:
    """Serve the probes alone; aiohttp answers what is no ordinary probe."""
    requests = Requests()

    async def start_aiohttp() -> AbstractAsyncContextManager[ProtocolFactory]:
        await import_later(admin_app.__name__)
        return http_listener.serving_app(admin_app.admin_app(observed), requests)

    async with Handover(start_aiohttp) as aiohttp:
        front = ProbeFront(None, time.time, aiohttp, requests, bounds, timings, probes=probes_of(observed))
        async with listening_front(front, requests, address, share_port=share_port) as port:
            yield port
