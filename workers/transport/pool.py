"""The worker's connections: for each destination those that are free, and the way to a new one.

A connection was looked at under one policy and opened with one trust, so both are part of a destination: when
`[egress]` changes, nothing that was opened before it is used again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self
from weakref import WeakValueDictionary

from aiohappyeyeballs import pop_addr_infos_interleave, start_connection

from relay.core.durations import format_duration
from relay.net.resolver import Resolver, allowed
from workers.transport.connection import Connection, DeadlineExceeded, NoResponse

if TYPE_CHECKING:
    from relay.core.config.egress import Egress
    from relay.net.resolver import AddressInfo
    from workers.transport.connection import Response

_KEEP_ALIVE = 2.0  # seconds an idle connection is kept: less than servers keep theirs, or they close it under a POST
_HEAD_START = 0.25  # seconds that an address is tried before the next one is as well (RFC 8305, 5)


class Destination(NamedTuple):
    """What a connection leads to."""

    host: str
    """A name in ASCII, or an address."""
    port: int
    tls: ssl.SSLContext | None
    """None where it is plain HTTP."""
    egress: Egress

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Timeouts(NamedTuple):
    """How long an exchange may take, seconds."""

    connect: float
    total: float


class ConnectionPools:
    """Every connection of the process. Enter it as a context: they are closed when it is left."""

    def __init__(self) -> None:
        self._pools: WeakValueDictionary[Destination, ConnectionPool] = (
            WeakValueDictionary()
        )  # for as long as a lane uses them
        self._open: set[Connection] = set()
        self._resolver = Resolver()
        self.loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        still_open = list(self._open)
        for connection in still_open:
            connection.abort()
        await asyncio.gather(*(connection.ended.wait() for connection in still_open))

    def pool_for(self, destination: Destination) -> ConnectionPool:
        """The connections to `destination`."""
        pool = self._pools.get(destination)
        if pool is None:
            pool = self._pools[destination] = ConnectionPool(self, destination)
        return pool

    async def open(self, destination: Destination, within: float) -> Connection:
        """A new connection to `destination`.

        Raises:
            NoAnswer: there is none to be had.
            Refused: it may not be connected to.
        """
        host, port, _, egress = destination
        try:
            addresses = allowed(egress, host, await self._resolver.resolve(host, port))
            return await self._open_one_of(addresses, destination, within)
        except ssl.SSLCertVerificationError as error:
            raise NoResponse(f"its certificate is not accepted: {error}") from error
        except OSError as error:
            if isinstance(error, TimeoutError) and error.errno is None:
                raise DeadlineExceeded(f"no connection within {format_duration(within)}") from error
            raise NoResponse(f"no connection to {destination}: {error.strerror or error}") from error

    async def _open_one_of(self, addresses: list[AddressInfo], destination: Destination, within: float) -> Connection:
        """A connection to the first of `addresses` that gives one, each of them given `within` seconds."""
        tls = destination.tls
        name = destination.host.rstrip(".") if tls else None
        while True:
            try:
                async with asyncio.timeout(within):
                    socket = await start_connection(addresses, happy_eyeballs_delay=_HEAD_START, interleave=1)
                    _, connection = await self.loop.create_connection(
                        partial(Connection, self.loop, self._open), sock=socket, ssl=tls, server_hostname=name
                    )
                    return connection
            except OSError:
                pop_addr_infos_interleave(addresses, 1)
                if not addresses:
                    raise


class ConnectionPool:
    """The connections to one destination."""

    def __init__(self, connections: ConnectionPools, destination: Destination) -> None:
        self._connections = connections
        self._loop = connections.loop
        self._destination = destination
        self._free: deque[tuple[Connection, float]] = deque()  # since when (the loop's clock), the longest first
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> list[Connection]:
        """Idle connections, the one used last at the end."""
        return [connection for connection, _ in self._free]

    async def exchange(self, request: bytes, patience: Timeouts) -> Response:
        """The answer to `request`, on a free connection or a new one.

        Raises:
            NoAnswer: none came; it is not known whether the request arrived.
            Refused: the destination may not be connected to.
        """
        began = self._loop.time()
        connection = self._take() or await self._new(began, patience)
        try:
            return await connection.exchange(request, began, patience.total)
        finally:
            if connection.is_free:
                self._keep(connection)

    async def _new(self, began: float, patience: Timeouts) -> Connection:
        try:
            async with asyncio.timeout_at(began + patience.total):
                return await self._connections.open(self._destination, patience.connect)
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {format_duration(patience.total)}") from None

    def _take(self) -> Connection | None:
        """The free connection that was used last: the others may be dropped the sooner."""
        self._drop_idle()
        while self._free:
            connection, _ = self._free.pop()
            if connection.is_free:
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        self._free.append((connection, self._loop.time()))
        if self._sweep is None:
            self._sweep = self._loop.call_later(_KEEP_ALIVE, self._sweep_up)

    def _sweep_up(self) -> None:
        self._sweep = None
        self._drop_idle()
        if self._free:
            self._sweep = self._loop.call_at(self._free[0][1] + _KEEP_ALIVE, self._sweep_up)

    def _drop_idle(self) -> None:
        """Closes what has been idle for too long."""
        oldest = self._loop.time() - _KEEP_ALIVE
        while self._free and self._free[0][1] <= oldest:
            connection, _ = self._free.popleft()
            connection.close()
