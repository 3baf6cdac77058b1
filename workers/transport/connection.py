"""An HTTP/1.1 connection to a subscriber: writes the bytes of a request and returns the response.

aiohttp's client is made for every use, with cookies, redirects, proxies, decompression and streams, and takes 50 us of
CPU for a POST where this takes 10. httptools (llhttp, the parser of Node.js) parses the responses.

A response counts as soon as its status line is known: the subscriber has decided then. A flaw in the rest (a broken
head, contradictory lengths, a body that breaks off) is kept in `Response.flaw`, and any flaw closes the connection.
httptools raises before it gives the status of a head that it rejects, so the status line is then read here.

HTTP/1.1 has no mark that ties a response to its request, so bytes that arrive unasked must never be taken for the
response to the next request: they close the connection, both when the event loop has read them and when they still wait
in the socket (`is_quiet`). What arrives between that check and the end of the request cannot be told from an early
response. A server that answers in advance so precisely deceives only its own lane: no two subscriptions share a
connection.
"""

from __future__ import annotations

import asyncio
import re
import select
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from relay.core.durations import format_duration
from workers.transport.shortage import OurShortage, shortage_in

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_READ = 64 * 1024
"""Bytes of a response's body that are read; a longer one costs its connection."""
_MAX_RECEIVED = 2 * MAX_READ  # bytes of a whole response
_SWITCHING = 101
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0)  # Linux; elsewhere POLLIN says it too
_CLOSED = "the subscriber closed the connection"
_FRAMING = {b"content-length", b"transfer-encoding"}
_match_status_line = re.compile(rb"[\r\n]*HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?[\r\n]").match
_find_blank_line = re.compile(rb"\n\r?\n").search


class NoResponse(Exception):
    """No response arrived, or not all of it; the message says why."""

    is_resent = False
    """True if the request was sent a second time, as in `Response`."""


class ConnectionLost(NoResponse):
    """The connection ended before any byte of a response arrived."""


class DeadlineExceeded(NoResponse):
    """The deadline passed before the response was complete."""


@dataclass(slots=True)
class Response:
    """The response to a request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """Names and values as they were sent, in that order."""
    body: bytearray = field(default_factory=bytearray)
    """The first 64 kB."""
    flaw: NoResponse | OurShortage | None = None
    """The error in its head or body that ended it; None if the body is complete, or too long to be read."""
    is_resent: bool = False
    """True if a kept connection was lost under the request, which was then sent again on a new one."""

    def header(self, name: bytes) -> str | None:
        """Return the first value of the header `name` (in lower case), or None."""
        for key, value in self.headers:
            if key.lower() == name:
                return value.decode(errors="replace")
        return None


class Connection(asyncio.Protocol):
    """A connection that exchanges requests for responses, one after the other."""

    __slots__ = (  # a subscriber that is slow has hundreds of them: 0.6 kB less each
        *("ended", "is_free", "_loop", "_open_connections", "_give_back", "_transport", "_poll", "_parser"),
        *("_result", "_on_end", "_response", "_headers", "_head", "_keep_alive", "_received"),
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        open_connections: set[Connection],
        give_back: Callable[[], None],
    ) -> None:
        """The connection is in `open_connections` while it is open, and calls `give_back` when it is not."""
        self._loop = loop  # kept: asking for the running loop is a system call in Python 3.11
        self.is_free = True
        """True if another request can be sent on it."""
        self.ended = loop.create_future()
        """Done when it is closed, by either side."""
        self._open_connections = open_connections
        self._give_back = give_back
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._parser: HttpResponseParser
        """Set while the connection is open only: it has methods of the connection, and would keep it in a cycle."""
        self._result: asyncio.Future[Response] | None = None
        self._on_end: Callable[[Connection], None]
        self._response: Response | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head = b""  # received so far; kept only while no head is complete
        self._keep_alive = False
        self._received = 0

    def send(self, request: bytes, on_end: Callable[[Connection], None]) -> asyncio.Future[Response]:
        """Send `request`; the future gets the response, complete or with a flaw, or a `NoResponse`.

        `on_end` is called when the exchange is over. A caller that stops waiting for the future calls `end`.

        Raises:
            ConnectionLost: it is closed.
        """
        if not self.is_free or self._transport.is_closing():
            raise ConnectionLost(_CLOSED)
        self.is_free, self._response, self._headers, self._head, self._received = False, None, [], b"", 0
        self._result, self._on_end = self._loop.create_future(), on_end
        self._transport.write(request)
        return self._result

    def time_out(self, within: float) -> None:
        """End an exchange whose response did not come within `within` seconds."""
        self._finish(DeadlineExceeded(f"no response within {format_duration(within)}"))
        self.end()

    def is_quiet(self) -> bool:
        """Return True if nothing waits in the socket: no byte that is unasked, and no end of the connection.

        The event loop reads a socket once a round, so the check must be made right before the request is written. It
        costs 0.7 us of CPU a POST (a peek with `recv`: 2.9). With TLS, bytes of any kind make the connection unfit:
        what they are is known too late.
        """
        return not self._transport.is_closing() and not self._poll.poll(0)

    def close(self) -> None:
        """Close it; bytes that are not sent by now stay unsent."""
        if self._transport.get_write_buffer_size():
            self.abort()
        else:
            self.is_free = False
            self._transport.close()

    def abort(self) -> None:
        """Close it at once, without the closing handshake of TLS, which waits for the other side."""
        self.is_free = False
        self._transport.abort()

    def _finish(self, error: NoResponse | OurShortage | None = None) -> None:
        """Give the result of the exchange: the response is complete, or `error` ended it."""
        if self._result is None or self._result.done():
            return
        self.is_free = error is None and self._keep_alive and not self._transport.get_write_buffer_size()
        if self._response is None and (status := _final_status(self._head)) is not None:
            self._response = Response(status, self._headers)
        if self._response is not None:
            self._response.flaw = error
            self._result.set_result(self._response)
        else:
            self._result.set_exception(error or NoResponse(_CLOSED))

    def end(self) -> None:
        """End the exchange if it has its result: the connection is free for the next one, or closed."""
        if self._result is None or not self._result.done():
            return
        self._result = None
        self._on_end(self)
        if not self.is_free:
            self.close()

    def _cut(self) -> None:
        """End the exchange early: the response is too long to be read to its end."""
        self._keep_alive = False
        self._finish(NoResponse("the response is not HTTP: its head does not end") if self._response is None else None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Handle asyncio's event: the connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # tolerated by aiohttp, curl and browsers too
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | _PEER_CLOSED)
        self._open_connections.add(self)

    def eof_received(self) -> None:
        """Handle asyncio's event: the server sends no more; asyncio closes the connection next."""
        self.is_free = False

    def connection_lost(self, error: Exception | None) -> None:
        """Handle asyncio's event: the connection is closed, which ends a response without a length."""
        is_complete = error is None and self._response is not None and self._ends_with_connection(self._response)
        if shortage := shortage_in(error):
            self._finish(OurShortage(shortage))
        else:
            kind = NoResponse if self._received else ConnectionLost
            self._finish(None if is_complete else kind(str(error or _CLOSED)))
        self.is_free = False
        self.end()
        del self._parser
        self._open_connections.discard(self)
        self._give_back()
        if not self.ended.done():  # cancelled with all that waited for it
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Handle asyncio's event: a part of a response."""
        if self._result is None:  # no request is in flight
            self.close()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:  # the latter if it switches to another protocol
            self._head += data if self._response is None else b""
            self._finish(NoResponse(f"the response is not HTTP: {error}"))
            self.is_free = False
        else:
            if self._response is None:
                self._head += data
        if self._received > _MAX_RECEIVED:
            self._cut()
        self.end()

    @staticmethod
    def _ends_with_connection(response: Response) -> bool:
        return not any(name.lower() in _FRAMING for name, _ in response.headers)

    def on_message_begin(self) -> None:
        """Handle httptools' event: a response begins."""
        if self._response is not None:
            raise ValueError("there is more than one response")  # reaches `data_received` as an HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle httptools' event: a header, or a trailer after the body."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Handle httptools' event: the head is complete, of the response or of an interim one (1xx)."""
        status = self._parser.get_status_code()
        if status < 200 and status != _SWITCHING:
            self._headers = []  # the response is still to come
        else:
            self._response, self._headers = Response(status, self._headers), []  # trailers are ignored
            self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Handle httptools' event: a part of the body."""
        response = cast("Response", self._response)
        response.body += data[: MAX_READ - len(response.body)]
        if len(response.body) == MAX_READ:
            self._cut()

    def on_message_complete(self) -> None:
        """Handle httptools' event: the response is complete."""
        if self._response is not None:
            self._finish()


def _final_status(head: bytes) -> int | None:
    """Return the status in `head`, the beginning of a response or of interim ones (1xx) before it; None if unknown."""
    position = 0
    while found := _match_status_line(head, position):
        status = int(found[1])
        if status >= 200 or status == _SWITCHING:
            return status
        if (blank_line := _find_blank_line(head, found.end() - 1)) is None:
            return None
        position = blank_line.end()
    return None
