"""Fast path: handle ordinary webhooks directly on the socket; everything else goes to aiohttp.

Nearly every webhook is the same: a POST to one of our paths, with a body of known length, one at a time on its
connection. `_Connection` waits for the head, parses it (`web.request_head`), waits for the body, gives both to the
`Ingress` and writes the response: 35 us of CPU an event, against 86 us through aiohttp. Bytes are parsed once: a next
request that arrives early stays in the buffer until the response to the previous one is written.

A request of another kind (another path or method, chunks, a body over the limit, not HTTP) is handed over to aiohttp
together with all that has arrived behind it; aiohttp has the connection from then on (`web.handed_over`). Both ways
give the same response, and are bounded by the same limits (`web.connections`).

Shutdown: each response announces that the connection closes. Idle connections are kept for a moment, in which most
senders send a webhook and so learn of it, then they are closed; requests that have begun to arrive get their response.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING

from relay.process.timings import DEFAULTS
from relay.web.connection import Connection
from relay.web.connections import LARGE, Connections, Limits
from relay.web.handed_over import HandedOver
from relay.web.ingress import DIALECTS, Webhook
from relay.web.request_head import MAX_HEAD, METHOD, parse_head
from relay.web.responses import ACCEPTED, MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.net.http_listener import ProtocolFactory, Requests
    from relay.process.timings import Timings
    from relay.web.connections import Queue
    from relay.web.ingress import Ingress
    from relay.web.responses import Response

_END_OF_HEAD = b"\r\n\r\n"
_DIALECTS = {path.encode(): dialect for path, dialect in DIALECTS.items()}


class FastPath:
    """The connections of a listener: a factory of protocols that knows which are open."""

    def __init__(
        self,
        ingress: Ingress,
        clock: Callable[[], float],
        aiohttp: ProtocolFactory,
        requests: Requests,
        limits: Limits | None = None,
        timings: Timings = DEFAULTS,
    ) -> None:
        """`clock` returns Unix seconds; `aiohttp` makes the protocol that a connection is handed over to."""
        self.ingress = ingress
        self.aiohttp = aiohttp
        self.requests = requests
        self.connections = Connections(limits or Limits(), timings)
        self._drain_idle = timings.drain_idle
        self._clock = clock
        self._second = -1
        self._date = ""
        self._accepted = b""

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(self)

    async def drain(self, timeout: float) -> None:
        """Answer what arrives, closing each connection with its response, until none is open or for `timeout`."""
        idle = min(self._drain_idle, timeout)
        await self.connections.drained(idle)
        self.connections.close_idle()
        await self.connections.drained(timeout - idle)

    def close(self) -> None:
        """Close every open connection."""
        self.connections.close()

    def encode(self, response: Response, *, closing: bool, version: str = "1.1") -> bytes:
        """Return the bytes of `response`; those of the usual one are made once a second."""
        if (second := int(self._clock())) != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
            self._accepted = ACCEPTED.encode(self._date, closing=False)
        if response is ACCEPTED and not closing:
            return self._accepted
        return response.encode(self._date, closing=closing, version=version)


class _Connection(Connection):
    """A connection, with at most one webhook in progress."""

    def __init__(self, fast_path: FastPath) -> None:
        super().__init__(fast_path.connections)
        self._fast_path = fast_path
        self._buffer = bytearray()  # received and not yet consumed
        self._searched = 0  # bytes of it in which no head ends
        self._webhook: Webhook | None = None  # in progress: from its head to its response
        self._body_length = 0
        self._keeps_alive = True
        self._version = "1.1"
        self._task: asyncio.Task[None] | None = None  # responds to the webhook
        self._is_leaving = False  # its last response is written

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._remote: str | None = (transport.get_extra_info("peername") or (None,))[0]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._webhook is not None and self._task is None:
            self._fast_path.ingress.interrupted(str(exc or "the connection was closed"), self._webhook)
            self._webhook = None
        self._buffer = bytearray()  # the rest of the connection is in cycles, and stays until they are collected

    def data_received(self, data: bytes) -> None:
        if self._is_leaving:
            return
        self._buffer += data
        if self._task is None:
            self._advance()
        else:
            self._transport.pause_reading()  # until the response is written
            self._connections.hold(self, len(self._buffer))

    def eof_received(self) -> bool:
        """Keep the connection open while a webhook is handled: the sender reads its response."""
        self.is_half_closed = True
        return self._task is not None

    def _advance(self) -> None:
        """Parse the next head, or respond to the webhook in progress once its body is there."""
        if self._webhook is None:
            end = self._buffer.find(_END_OF_HEAD, self._searched, MAX_HEAD)
            if end < 0 and self._may_become_webhook():
                self._wait_for_head()
                return
            if not self._begin(end):
                self._hand_over()
                return
            if self._body_length > LARGE and (delay := self._connections.pace(self._body_length)):
                if self._wait_for_body():
                    self.pause(delay, self._advance)
                return
        if len(self._buffer) < self._body_length:
            self._wait_for_body()
        elif self._webhook is not None:
            self._connections.handle(self)
            self._webhook.body = self._consume(self._body_length)
            if self.held:
                self._connections.hold(self, len(self._buffer))
            self._task = self._loop.create_task(self._respond(self._webhook))

    def _may_become_webhook(self) -> bool:
        """Return True if the buffer may be the beginning of the head of a webhook; lines end with CR LF."""
        buffer, since = self._buffer, self._searched
        return (
            len(buffer) < MAX_HEAD
            and METHOD.startswith(buffer[: len(METHOD)])
            and buffer.count(b"\n", since) == buffer.count(b"\r\n", max(0, since - 1))
        )

    def _begin(self, end: int) -> bool:
        """Consume the head of a webhook, which ends at `end`; return False if it is none."""
        head = parse_head(bytes(self._buffer[: end + len(_END_OF_HEAD)])) if end > 0 else None
        if head is None or head.body_length > MAX_BODY:
            return False
        path, _, query = head.target.partition(b"?")
        dialect = _DIALECTS.get(path)
        if dialect is None or b"#" in query:
            return False
        del self._buffer[: end + len(_END_OF_HEAD)]
        self._searched = 0
        self._body_length, self._keeps_alive = head.body_length, head.keeps_alive
        self._version = "1.0" if head.is_http_1_0 else "1.1"
        self._webhook = Webhook.at(dialect, query.decode("ascii"), head, self._remote)
        return True

    def _wait_for_head(self) -> None:
        self._searched = max(0, len(self._buffer) - len(_END_OF_HEAD) + 1)
        self._wait_in_queue(self._connections.head)

    def _wait_for_body(self) -> bool:
        """Wait for the rest of the body; return False if the headers alone show that it would be refused."""
        if self.queue is not self._connections.body and self._webhook is not None:
            refusal = self._fast_path.ingress.refuse_early(self._webhook)
            if refusal is not None:
                self._webhook = None
                self._leave(refusal)
                return False
        self._wait_in_queue(self._connections.body)
        return not self._transport.is_closing()

    def _wait_in_queue(self, queue: Queue) -> None:
        if self.is_half_closed:
            self._transport.close()  # the rest will not come
            return
        if self.queue is not queue:
            self._connections.wait(self, queue)
        self._connections.hold(self, len(self._buffer))

    async def _respond(self, webhook: Webhook) -> None:
        fast_path = self._fast_path
        try:
            response = await fast_path.ingress.receive(webhook)
            if response.delay:
                self.delay()
                await asyncio.sleep(response.delay)
        except BaseException:
            self._transport.close()  # without a response: Linq retries
            raise
        finally:
            self._webhook = self._task = None
        if self._transport.is_closing():
            return  # the sender left before its response, and will retry
        if fast_path.requests.are_ending or not self._keeps_alive:
            self._leave(response)
            return
        self._transport.write(fast_path.encode(response, closing=False))
        if self._buffer:
            self._transport.resume_reading()
            self._advance()
        elif self.is_half_closed:
            self._transport.close()
        else:
            self._connections.wait(self, self._connections.idle)

    def _consume(self, size: int) -> bytes:
        if size == len(self._buffer):
            consumed = bytes(self._buffer)
            self._buffer.clear()
            return consumed
        with memoryview(self._buffer) as view:
            consumed = bytes(view[:size])
        del self._buffer[:size]
        return consumed

    def _leave(self, response: Response) -> None:
        """Write the last response, and close the connection once the sender has, or after a moment."""
        self._is_leaving = True
        self._buffer.clear()
        self._connections.hold(self, 0)
        self._transport.write(self._fast_path.encode(response, closing=True, version=self._version))
        if self.is_half_closed:
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()  # what still arrives is dropped
        self._connections.wait(self, self._connections.leaving)

    def _hand_over(self) -> None:
        """Leave the connection, and what has arrived and is not yet consumed, to aiohttp."""
        self._connections.remove(self)
        protocol = HandedOver(self._connections, self._fast_path.aiohttp())
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(bytes(self._buffer))
        if self.is_half_closed:
            protocol.eof_received()
