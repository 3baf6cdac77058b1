"""The worker's connection pools: for each destination its idle connections, and the opening of new ones.

A connection was checked under one egress policy and opened with one set of trusted authorities, so both are part of a
destination: when `[egress]` changes, no connection that was opened before is used again. The subscription is part of it
too: a server that sends more responses than it was asked for must not answer for another team behind the same address.

A kept connection may be closed by the server while a request is on its way. If no byte of a response came, the request
is sent once more, on a new connection (RFC 9112, 9.3.1 and 9.5); the subscriber dedupes by `webhook-id`, as always.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, NamedTuple, Self
from weakref import WeakValueDictionary

from relay.core.durations import format_duration
from relay.net.resolver import Resolver, allowed
from relay.process.timings import DEFAULTS
from workers.transport.connection import Connection, ConnectionLost, DeadlineExceeded, NoResponse
from workers.transport.opening import Destination, failure_of, open_first
from workers.transport.openings import Openings, Turn
from workers.transport.shortage import Budget, OurShortage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from workers.transport.connection import Response

_TICK = 0.001  # seconds by which a timer may come early
_STOPPING = "the relay is stopping"


class Timeouts(NamedTuple):
    """Time limits of an exchange, seconds."""

    connect: float
    total: float


class ConnectionPools:
    """Every connection of the process. Enter it as a context: they are closed when it is left."""

    def __init__(
        self,
        keep_alive: float = DEFAULTS.keep_alive,
        resolver: Resolver | None = None,
        max_connections: int | None = None,
        on_certificate: Callable[[str, float], None] | None = None,
    ) -> None:
        """Keep idle connections for `keep_alive` seconds; `resolver` is closed with them.

        At most `max_connections` are open, as many as the limit of descriptors allows if it is None. `on_certificate`
        is called for each new connection whose certificate was verified, with the subscription and the certificate's
        end (Unix seconds).
        """
        self._on_certificate = on_certificate
        self.keep_alive = keep_alive
        self._pools = WeakValueDictionary[Destination, ConnectionPool]()  # weak: as long as a lane uses them
        self._open: set[Connection] = set()
        self._resolver = resolver or Resolver()
        self._budget = Budget(max_connections)
        self.openings = Openings()
        self.is_closed = False
        """True if the process is stopping: what fails now is not the subscribers' fault."""
        self.loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_closed = True
        self.openings.close()
        still_open = list(self._open)
        for connection in still_open:
            connection.abort()
        await asyncio.gather(*(connection.ended for connection in still_open))
        await self._resolver.__aexit__()

    def pool_for(self, destination: Destination) -> ConnectionPool:
        """Return the pool of connections to `destination`."""
        pool = self._pools.get(destination)
        if pool is None:
            pool = self._pools[destination] = ConnectionPool(self, destination)
        return pool

    async def open(self, destination: Destination, within: float) -> Connection:
        """Open a new connection to `destination`.

        Raises:
            NoResponse: no connection could be opened.
            Refused: `[egress]` forbids the destination.
            OurShortage: the relay cannot open any connection now.
        """
        if self.is_closed:
            raise OurShortage(_STOPPING)
        host, port, _, egress, subscription = destination
        give_back = self._budget.take(subscription, len(self._pools))
        failures: list[OSError] = []
        try:
            addresses = allowed(egress, host, await self._resolver.resolve(host, port, within))
            make = partial(Connection, self.loop, self._open, give_back)
            transport, connection = await open_first(addresses, destination, within, make, failures)
        except OSError as error:
            give_back()
            raise failure_of(error, failures, destination, within) from error
        except BaseException:
            give_back()
            raise
        if self._on_certificate and (certificate := transport.get_extra_info("peercert")):
            self._on_certificate(subscription, ssl.cert_time_to_seconds(certificate["notAfter"]))
        return connection


class ConnectionPool:
    """The connections to one destination."""

    def __init__(self, connections: ConnectionPools, destination: Destination) -> None:
        self._connections = connections
        self._loop = connections.loop
        self._keep_alive = connections.keep_alive
        self._destination = destination
        self._idle: deque[tuple[Connection, float]] = deque()  # with the time it became idle, the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight: dict[Connection, tuple[float, float]] = {}  # with the deadline, and the limit that it is for
        self._waiting: deque[asyncio.Future[Connection | Turn]] = deque()  # requests; cancelled ones too
        self.opening, self.is_queued = 0, False  # for `Openings`
        self._next_deadline = inf  # one timer for all exchanges: one of its own would cost each 1.2 us
        self._watch: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> list[Connection]:
        """Idle connections, the one used last at the end."""
        return [connection for connection, _ in self._idle]

    async def exchange(self, request: bytes, timeouts: Timeouts) -> Response:
        """Send `request` on an idle connection or a new one, and return the response.

        Raises:
            NoResponse: none arrived; the request may have arrived all the same.
            Refused: `[egress]` forbids the destination.
            OurShortage: it could not be sent for want of something of ours.
        """
        began = self._loop.time()
        connection, is_new = self._take(began), False
        try:
            if connection is None:
                connection, is_new = await self._free_or_new(began, timeouts)
            try:
                return await self._exchange_on(connection, request, began, timeouts)
            except ConnectionLost:
                if is_new:
                    raise
                return await self._resend(request, began, timeouts)
        except NoResponse as error:
            if self._connections.is_closed:
                raise OurShortage(_STOPPING) from error
            raise

    async def _resend(self, request: bytes, began: float, timeouts: Timeouts) -> Response:
        try:
            response = await self._exchange_on(await self._new(began, timeouts), request, began, timeouts)
        except NoResponse as error:
            error.is_resent = True
            raise
        response.is_resent = True
        return response

    async def _exchange_on(self, connection: Connection, request: bytes, began: float, timeouts: Timeouts) -> Response:
        result = connection.send(request, self._ended)
        deadline = began + timeouts.total
        self._in_flight[connection] = deadline, timeouts.total
        if deadline < self._next_deadline:
            self._watch_until(deadline)
        try:
            return await result
        finally:
            connection.end()
            del result  # an error that it has would be in a cycle with this frame

    def _ended(self, connection: Connection) -> None:
        """Keep a connection whose exchange is over, if another request can be sent on it."""
        del self._in_flight[connection]
        if connection.is_free:
            self._keep(connection)

    def next_waiting(self) -> asyncio.Future[Connection | Turn] | None:
        """Return the future of the request that has waited longest for a connection; None if none waits."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():  # cancelled with its request
                return future
        return None

    async def _free_or_new(self, began: float, timeouts: Timeouts) -> tuple[Connection, bool]:
        """Return a connection, and whether it is new: if none becomes free until it is this request's turn."""
        async with _until_deadline(began, timeouts):
            while not isinstance(found := await self._turn_or_free(), Turn):
                if _is_usable(found):  # nothing came from the server meanwhile
                    return found, False
            with found:
                return await self._connections.open(self._destination, timeouts.connect), True

    async def _turn_or_free(self) -> Connection | Turn:
        future: asyncio.Future[Connection | Turn] = self._loop.create_future()
        self._waiting.append(future)
        self._connections.openings.queue(self)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled():
                self._give_back(future.result())
            raise

    def _give_back(self, found: Connection | Turn) -> None:
        if isinstance(found, Turn):
            found.end()
        elif found.is_free:
            self._keep(found)

    def _watch_until(self, deadline: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._next_deadline, self._watch = deadline, self._loop.call_at(deadline, self._time_out)

    def _time_out(self) -> None:
        """End the exchanges whose deadline has passed, and watch the others."""
        self._next_deadline = inf
        passed = self._loop.time() + _TICK
        for connection, (deadline, within) in list(self._in_flight.items()):
            if deadline <= passed:
                connection.time_out(within)
        if self._in_flight:
            self._watch_until(min(deadline for deadline, _ in self._in_flight.values()))

    async def _new(self, began: float, timeouts: Timeouts) -> Connection:
        async with _until_deadline(began, timeouts):
            return await self._connections.open(self._destination, timeouts.connect)

    def _take(self, now: float) -> Connection | None:
        """Return the idle connection that was used last, so that the others reach their keep-alive limit."""
        self._drop_idle(now)
        while self._idle:
            connection, _ = self._idle.pop()
            if _is_usable(connection):
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        """Give a connection to a request that waits for one, or keep it for the next."""
        if (waiting := self.next_waiting()) is not None:
            waiting.set_result(connection)
            return
        self._idle.append((connection, self._loop.time()))
        if self._timer is None:
            self._timer = self._loop.call_later(self._keep_alive, self._close_idle)

    def _close_idle(self) -> None:
        self._timer = None
        self._drop_idle(self._loop.time())
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0][1] + self._keep_alive, self._close_idle)

    def _drop_idle(self, now: float) -> None:
        """Close the connections that have been idle for too long."""
        oldest = now - self._keep_alive
        while self._idle and self._idle[0][1] <= oldest:
            connection, _ = self._idle.popleft()
            connection.close()


@asynccontextmanager
async def _until_deadline(began: float, timeouts: Timeouts) -> AsyncIterator[None]:
    """End what is done in the context, and raise `DeadlineExceeded`, when an exchange that `began` then is late."""
    try:
        async with asyncio.timeout_at(began + timeouts.total):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"no response within {format_duration(timeouts.total)}") from None


def _is_usable(connection: Connection) -> bool:
    """Return True if a request can be sent on a connection that was free; it is closed otherwise."""
    if not connection.is_free:
        return False
    if connection.is_quiet():
        return True
    connection.close()
    return False
