"""Load generator: one process, uvloop, keep-alive connections, requests signed and joined beforehand.

    python -m tests.bench.load '{"port": 8080, "seconds": 3, "events": 60000}'

Closed loop: every connection sends its next request when the response to its last one arrives. Open loop (`rate`):
requests are due at fixed times, wait for a free connection if there is none, and their latency counts from when they
were due. The result goes to standard output as JSON. A request costs some 15 microseconds here, so that the generator
makes several times the requests that a server in Python can handle (`ceiling` in the table).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, cast

from relay.process.event_loop import run
from tests.bench.events import Order, requests_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_WARM_UP = 0.2  # of the time, not measured
_TIMEOUT = 10.0  # seconds to wait for responses after the last request
_LEAD = 0.3  # seconds between signing the last request and the time at which the first is due


@dataclass(slots=True)
class Outcome:
    """Result of an order."""

    answered: int
    """Number of responses, warm-up included."""
    rate: float
    """Responses a second, after the warm-up."""
    p50: float
    """Milliseconds."""
    p99: float
    began_at: float
    """Unix seconds, like `ended_at`."""
    ended_at: float
    statuses: dict[str, int] = field(default_factory=dict)
    first: str = ""
    """The first response without a 2xx."""


class Load:
    """State that the connections share."""

    def __init__(self, order: Order) -> None:
        self._order = order
        begins_in = order.events / 20_000 + _LEAD
        self.begins_at = time.time() + begins_in
        made = requests_of(order, self.begins_at)
        self.requests: Iterator[bytes] = cycle(made) if order.repeat else iter(made)
        self.idle: deque[Connection] = deque()
        self.due: deque[tuple[float, bytes]] = deque()
        self.answers: list[tuple[float, float]] = []  # when, and after how long; seconds
        self.statuses: Counter[str] = Counter()
        self.first_refusal = ""
        self.ends_at = 0.0
        self.under_way = 0

    def next(self, connection: Connection) -> None:
        """Send the next request, if there is one, on a free connection."""
        now = time.perf_counter()
        if self._order.rate:
            if self.due:
                connection.send(*self.due.popleft())
            else:
                self.idle.append(connection)
        elif now < self.ends_at and (request := next(self.requests, None)) is not None:
            connection.send(now, request)

    async def run(self) -> Outcome:
        """Send all requests."""
        loop = asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._order.port))[1]
            for _ in range(self._order.connections)
        ]
        await asyncio.sleep(max(self.begins_at - time.time(), 0) if self._order.rate else 0)
        began = time.perf_counter()
        self.ends_at = began + self._order.seconds
        for connection in connections:
            self.next(connection)
        if self._order.rate:
            await self._send_at_fixed_moments(began)
        while self.under_way and time.perf_counter() < self.ends_at + _TIMEOUT:
            await asyncio.sleep(0.005)
        return self._outcome(began)

    async def _send_at_fixed_moments(self, began: float) -> None:
        for number, request in enumerate(self.requests):
            due = began + number / self._order.rate
            if due >= self.ends_at:
                return
            while (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            if self.idle:
                self.idle.popleft().send(due, request)
            else:
                self.due.append((due, request))

    def _outcome(self, began: float) -> Outcome:
        last = self.answers[-1][0] if self.answers else began
        warm = began + (last - began) * _WARM_UP
        measured = sorted(took for at, took in self.answers if at > warm)
        return Outcome(
            answered=len(self.answers),
            rate=len(measured) / (last - warm) if measured else 0.0,
            p50=1000 * measured[len(measured) // 2] if measured else 0.0,
            p99=1000 * measured[len(measured) * 99 // 100] if measured else 0.0,
            began_at=time.time() - time.perf_counter() + began,
            ended_at=time.time() - time.perf_counter() + last,
            statuses=dict(self.statuses),
            first=self.first_refusal,
        )


class Connection(asyncio.Protocol):
    """Keep-alive connection, with at most one request in flight."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._sent_at = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, due: float, request: bytes) -> None:
        """Send a request that was due at a time of `time.perf_counter`."""
        self._sent_at = due
        self._load.under_way += 1
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0 or len(self._got) < end + 4 + content_length(self._got[:end]):
            return
        load, status = self._load, self._got[9:12].decode()
        if not status.startswith("2") and not load.first_refusal:
            load.first_refusal = self._got.decode(errors="replace")
        self._got = b""
        now = time.perf_counter()
        load.statuses[status] += 1
        load.answers.append((now, now - self._sent_at))
        load.under_way -= 1
        load.next(self)


def content_length(head: bytes) -> int:
    """Return the `Content-Length` of a head, 0 if it has none."""
    start = head.lower().find(b"content-length:")
    return int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


async def send(order: Order) -> Outcome:
    """Carry out an order."""
    return await Load(order).run()


if __name__ == "__main__":
    print(json.dumps(asdict(run(send(Order(**json.loads(sys.argv[1])))))))  # noqa: T201  it is what the parent reads
