"""A connection of the fast path (`path`): reads one request at a time, and writes its response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.web.connection import Connection
from relay.web.connections import LARGE
from relay.web.fast.request_head import GET, MAX_HEAD, METHOD, parse_head, parse_probe
from relay.web.handed_over import HandedOver
from relay.web.ingress import Webhook
from relay.web.responses import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from relay.net.front import ProtocolFactory
    from relay.web.connections import Queue
    from relay.web.fast.path import FastPath
    from relay.web.responses import Response

_END_OF_HEAD = b"\r\n\r\n"


class FastConnection(Connection):
    """A connection, with at most one webhook or probe in progress."""

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
        """Register the connection, and note its sender."""
        super().connection_made(transport)
        self._remote: str | None = (transport.get_extra_info("peername") or (None,))[0]

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection; a webhook that has not wholly arrived is recorded."""
        super().connection_lost(exc)
        if self._webhook is not None and self._task is None:
            self._fast_path.ingress.interrupted(str(exc or "the connection was closed"), self._webhook)
            self._webhook = None
        self._buffer = bytearray()  # the rest of the connection is in cycles, and stays until they are collected

    def data_received(self, data: bytes) -> None:
        """Respond to what is whole."""
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
            if end < 0 and self._may_become_ordinary():
                self._wait_for_head()
                return
            if not self._begin(end):
                if not self._begin_probe(end):
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
            self._task = self._loop.create_task(self._respond(self._fast_path.ingress.receive(self._webhook)))

    def _may_become_ordinary(self) -> bool:
        """Return True if the buffer may be the beginning of the head of a webhook or probe; lines end with CR LF."""
        buffer, since = self._buffer, self._searched
        return (
            len(buffer) < MAX_HEAD
            and (METHOD.startswith(buffer[: len(METHOD)]) or GET.startswith(buffer[: len(GET)]))
            and buffer.count(b"\n", since) == buffer.count(b"\r\n", max(0, since - 1))
        )

    def _begin(self, end: int) -> bool:
        """Consume the head of a webhook, which ends at `end`; return False if it is none."""
        head = parse_head(bytes(self._buffer[: end + len(_END_OF_HEAD)])) if end > 0 else None
        if head is None or head.body_length > MAX_BODY:
            return False
        path, _, query = head.target.partition(b"?")
        dialect = self._fast_path.dialects.get(path)
        if dialect is None or b"#" in query:
            return False
        del self._buffer[: end + len(_END_OF_HEAD)]
        self._searched = 0
        self._body_length, self._keeps_alive = head.body_length, head.keeps_alive
        self._version = "1.0" if head.is_http_1_0 else "1.1"
        self._webhook = Webhook.at(dialect, query.decode("ascii"), head, self._remote)
        return True

    def _begin_probe(self, end: int) -> bool:
        """Answer the probe whose head ends at `end`; return False if it is none."""
        head = parse_probe(bytes(self._buffer[: end + len(_END_OF_HEAD)])) if end > 0 else None
        probe = None if head is None else self._fast_path.probes.get(head.target.partition(b"?")[0])
        if head is None or probe is None or b"#" in head.target:
            return False
        del self._buffer[: end + len(_END_OF_HEAD)]
        self._searched = 0
        self._keeps_alive, self._version = head.keeps_alive, "1.0" if head.is_http_1_0 else "1.1"
        self._connections.handle(self)
        self._connections.hold(self, len(self._buffer))
        self._task = self._loop.create_task(self._respond(probe()))
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

    async def _respond(self, answer: Awaitable[Response]) -> None:
        fast_path = self._fast_path
        try:
            response = await answer
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
            self.rest()

    def rest(self) -> None:
        """Wait for the next request."""
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
        self.linger()

    def linger(self) -> None:
        """Wait until the sender has closed the connection."""
        self._connections.wait(self, self._connections.leaving)

    def _hand_over(self) -> None:
        """Leave the connection, and what has arrived and is not yet consumed, to aiohttp."""
        if self._fast_path.aiohttp.factory is not None:
            self._give(self._fast_path.aiohttp.factory)
            return
        self._transport.pause_reading()
        self._connections.wait(self, self._connections.head)
        self._connections.hold(self, len(self._buffer))
        self._task = self._loop.create_task(self._start_aiohttp())

    async def _start_aiohttp(self) -> None:
        """Hand over the connection once aiohttp is there; while it waits it may be closed, as in any other wait."""
        try:
            factory = await self._fast_path.aiohttp.started()
        except BaseException:
            self._transport.close()
            raise
        finally:
            self._task = None
        if not self._transport.is_closing():
            self._give(factory)
            self._transport.resume_reading()

    def _give(self, factory: ProtocolFactory) -> None:
        self._connections.remove(self)
        protocol = HandedOver(self._connections, factory())
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        received, self._buffer = bytes(self._buffer), bytearray()
        protocol.data_received(received)
        if self.is_half_closed:
            protocol.eof_received()
