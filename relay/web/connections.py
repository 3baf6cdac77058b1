"""The open connections of the ingress: how many there may be, how long each may wait, how many bytes they may hold.

A connection costs memory and a descriptor before its sender has proved anything, so every wait has a deadline and every
sum a limit. A connection waits in at most one queue; while its webhook is handled it is in none, and cannot be closed
from here. Queues are ordered by the start of the wait and all of one queue wait equally long, so that the expired ones
are in front: a sweep looks only at them.

    unused    accepted, no byte yet           deadline of a head
    head      a part of a head has arrived    deadline of a head
    body      its body is arriving            deadline of a body
    sending   reads its response slowly       deadline of a body
    idle      kept after a response           idle timeout
    delayed   refused, the response waits     none, the delay is bounded
    leaving   responded to, being closed      linger

At the limit of connections one makes room: a delayed one if there is any, since its sender is over its budget of
failures (`net.failure_limit`), or the one that has waited longest. At the limit of unverified bytes it is the one that
has held some longest: senders that do their work are never in front for long. What was closed is logged once a second,
by reason.

Large requests are worked on at a limited rate, all together: thousands of senders that upload at once would keep the
event loop busy with copying and verifying. Linq's webhooks have a few kilobytes and never wait for it.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from relay.net.pace import Pace
from relay.process.resources.descriptors import descriptor_limit
from relay.process.timings import DEFAULTS

if TYPE_CHECKING:
    from relay.config.settings import Settings
    from relay.process.timings import Timings
    from relay.web.connection import Connection

_TICK = 1.0  # seconds from one sweep to the next, at most
_LOG_INTERVAL = 1.0
_RESERVED = 128  # descriptors for other things than connections: Redis, the listeners, files
_RATE = 32 * 1024 * 1024  # bytes a second of large requests
_BURST = 8 * 1024 * 1024  # bytes at once
_FEWEST = 16  # connections, with however few descriptors

LARGE = 64 * 1024
"""Bytes of a request beyond which it is subject to the common rate of large requests."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the connections of a listener."""

    connections: int = 4096
    unverified: int = 64 * 1024 * 1024
    """Bytes of requests that are not whole yet, of all connections together."""
    idle: float = 630.0
    """Seconds that a connection is kept after a response."""

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits of `settings`, with no more connections than the process has descriptors for."""
        unverified = settings.relay_max_unverified_mib * 1024 * 1024
        return cls(settings.relay_max_connections, unverified, settings.relay_idle_timeout).fitting()

    def fitting(self) -> Limits:
        """Return the limits with no more connections than the process has descriptors for."""
        connections = max(_FEWEST, min(self.connections, descriptor_limit() - _RESERVED))
        if connections < self.connections:
            wanted = self.connections
            log.warning("connections.limited", connections=connections, wanted=wanted, descriptors=descriptor_limit())
        return replace(self, connections=connections)


class Queue(NamedTuple):
    """Connections that wait for the same thing, each with the time since when, the oldest first."""

    name: str
    timeout: float
    since: dict[Connection, float]

    def oldest(self) -> tuple[float, Connection] | None:
        """Return the connection that has waited longest, and since when."""
        for connection, since in self.since.items():
            return since, connection
        return None


class Connections:
    """The open connections of a listener."""

    def __init__(self, limits: Limits, timings: Timings = DEFAULTS) -> None:
        """Create without connections; needs a running loop."""
        self.limits = limits
        self.open: set[Connection] = set()
        self.held = 0
        """Bytes of requests that are not whole yet."""
        self.unused = Queue("no request came", timings.request_head, {})
        self.head = Queue("its head came too slowly", timings.request_head, {})
        self.body = Queue("its body came too slowly", timings.request_body, {})
        self.sending = Queue("it read its response too slowly", timings.request_body, {})
        self.idle = Queue("idle", limits.idle, {})
        self.delayed = Queue("refused", math.inf, {})
        self.leaving = Queue("leaving", timings.linger, {})
        self._queues = (self.unused, self.head, self.body, self.sending, self.idle, self.leaving)
        self._holders: dict[Connection, None] = {}  # connections that hold bytes, in the order in which they began to
        self._closed: Counter[str] = Counter()
        self._logged = -_LOG_INTERVAL
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(_RATE, _BURST, self._loop.time)
        self._tick = min(_TICK, *(queue.timeout / 4 for queue in self._queues))
        self._sweeping = self._loop.call_later(self._tick, self._sweep)
        self._removed = asyncio.Event()

    def add(self, connection: Connection) -> bool:
        """Register an open connection; return False if there is no room for it."""
        if len(self.open) >= self.limits.connections and not self._make_room():
            self._count("refused: all connections are busy")
            return False
        self.open.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Unregister a connection."""
        self.handle(connection)
        self.hold(connection, 0)
        self.open.discard(connection)
        self._removed.set()

    def wait(self, connection: Connection, queue: Queue) -> None:
        """Let `connection` wait in `queue` from now on."""
        if connection.queue is not None:
            del connection.queue.since[connection]
        connection.queue = queue
        queue.since[connection] = self._loop.time()

    def handle(self, connection: Connection) -> None:
        """Take `connection` out of its queue: the relay is busy with it, not its sender."""
        if connection.queue is not None:
            del connection.queue.since[connection]
            connection.queue = None

    def hold(self, connection: Connection, size: int) -> None:
        """Count the bytes that `connection` holds; at the limit, abort the one that has held some longest."""
        self.held += size - connection.held
        connection.held = size
        if not size:
            self._holders.pop(connection, None)
            return
        self._holders.setdefault(connection)
        while self.held > self.limits.unverified:
            slowest = next((holder for holder in self._holders if holder.queue is not None), connection)
            self._count("too many unverified bytes")
            self.hold(slowest, 0)
            slowest.abort()

    def close_slowest_body(self, connection: Connection) -> bool:
        """Close the connection whose body has been arriving longest, but not `connection`; return False without one."""
        slowest = next((each for each in self.body.since if each is not connection), None)
        if slowest is None:
            return False
        self._count("made room for another request")
        self.handle(slowest)
        slowest.close()
        return True

    def pace(self, size: int) -> float:
        """Return the seconds to wait before `size` bytes of a large request are worked on."""
        return self._pace.take(size)

    async def drained(self, timeout: float) -> None:
        """Wait until no connection is open, with a timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.open:
                    self._removed.clear()
                    await self._removed.wait()

    def close_idle(self) -> None:
        """Close the connections on which no request has begun to arrive."""
        for connection in (*self.unused.since, *self.idle.since):
            connection.close()

    def close(self) -> None:
        """Close every connection, and stop sweeping."""
        self._log()
        for connection in list(self.open):
            connection.close()
        self._sweeping.cancel()

    def _make_room(self) -> bool:
        delayed = self.delayed.oldest()
        fronts = [delayed] if delayed else [oldest for queue in self._queues if (oldest := queue.oldest())]
        if not fronts:
            return False
        _, connection = min(fronts, key=lambda front: front[0])
        self._count("made room for another connection")
        connection.close()
        self.remove(connection)
        return True

    def _count(self, reason: str) -> None:
        self._closed[reason] += 1

    def _sweep(self) -> None:
        """Close what is late, and log what was closed."""
        now = self._loop.time()
        for queue in self._queues:
            while (oldest := queue.oldest()) and now - oldest[0] >= queue.timeout:
                if queue not in (self.idle, self.leaving):
                    self._count(queue.name)
                self.handle(oldest[1])
                oldest[1].close()
        if now - self._logged >= _LOG_INTERVAL:
            self._logged = now
            self._log()
        self._sweeping = self._loop.call_later(self._tick, self._sweep)

    def _log(self) -> None:
        for reason, count in self._closed.items():
            log.warning("connections.closed", reason=reason, count=count, open=len(self.open), held=self.held)
        self._closed.clear()
