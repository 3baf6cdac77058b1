"""One HTTP/1.1 connection to a subscriber: a request goes out as it is, and the answer to it comes back.

aiohttp's client does this for everybody, with cookies, redirects, proxies, decompression and streams, and takes 50 us
of CPU for a POST where this takes 10. httptools (llhttp, as in Node.js) reads the answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import cast

from httptools import HttpParserError, HttpResponseParser

from relay.core.durations import format_duration

MAX_READ = 64 * 1024
"""Bytes of an answer's body; one that is longer costs its connection."""
_MAX_TAKEN = 2 * MAX_READ  # bytes of a whole answer
_SWITCHING = 101
_CLOSED = "it closed the connection"
_FRAMING = {b"content-length", b"transfer-encoding"}


class NoResponse(Exception):
    """No answer came, or not all of it; says why, for a person."""


class DeadlineExceeded(NoResponse):
    """It took longer than it may."""


@dataclass(slots=True)
class Response:
    """What a server says to a request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """As they were sent, in that order."""
    body: bytearray = field(default_factory=bytearray)
    """The first 64 kB."""
    flaw: NoResponse | None = None
    """Why the rest of its body did not come; None if it did, or was too long to be waited for."""

    def header(self, name: bytes) -> str | None:
        """The first value under `name`, which is in lower case; None if there is none."""
        return next((value.decode(errors="replace") for one, value in self.headers if one.lower() == name), None)


class Connection(asyncio.Protocol):
    """Exchanges requests for answers, one after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, among: set[Connection]) -> None:
        """It is `among` the others for as long as it is open."""
        self._loop = loop  # kept: to ask for the running loop is a system call in Python 3.11
        self.is_free = True
        """Whether another request can go out on it."""
        self.ended = asyncio.Event()
        """Set when it is closed, whoever closed it."""
        self._among = among
        self._transport: asyncio.Transport
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(  # what aiohttp, curl and browsers put up with
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._end: asyncio.Future[Response] | None = None
        self._answer: Response | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._keeps = False
        self._taken = 0

    async def exchange(self, request: bytes, since: float, within: float) -> Response:
        """The answer to `request`, whole or with a flaw; it has `within` seconds from `since` (the loop's clock).

        Raises:
            NoAnswer: not even its head came.
        """
        if not self.is_free or self._transport.is_closing():
            raise NoResponse(_CLOSED)
        self.is_free, self._answer, self._headers, self._taken = False, None, [], 0
        self._end = self._loop.create_future()
        timer = self._loop.call_at(since + within, self._give_up, within)
        self._transport.write(request)
        try:
            return await self._end
        finally:
            timer.cancel()
            self._end = None
            if not self.is_free:
                self.close()

    def close(self) -> None:
        """Ends it; what is not sent by now stays unsent."""
        if self._transport.get_write_buffer_size():
            self.abort()
        else:
            self.is_free = False
            self._transport.close()

    def abort(self) -> None:
        """Ends it without a farewell (TLS has one, and waits for the answer)."""
        self.is_free = False
        self._transport.abort()

    def _give_up(self, within: float) -> None:
        self._finish(DeadlineExceeded(f"no answer within {format_duration(within)}"))

    def _finish(self, trouble: NoResponse | None = None) -> None:
        """There will be no more of the answer: it is whole, or in trouble."""
        if self._end is None or self._end.done():
            return
        self.is_free = trouble is None and self._keeps and not self._transport.get_write_buffer_size()
        if self._answer is not None:
            self._answer.flaw = trouble
            self._end.set_result(self._answer)
        else:
            self._end.set_exception(trouble or NoResponse(_CLOSED))

    def _cut(self) -> None:
        """The answer is too long to be read to its end."""
        self._keeps = False
        self._finish(NoResponse("its answer is not HTTP: its head does not end") if self._answer is None else None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._among.add(self)

    def eof_received(self) -> None:
        """asyncio: the server will send no more; the connection is closed next."""
        self.is_free = False

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: it is closed, which ends an answer that does not say where it ends."""
        is_whole = error is None and self._answer is not None and self._ends_with_the_connection(self._answer)
        self._finish(None if is_whole else NoResponse(str(error or _CLOSED)))
        self.is_free = False
        self._among.discard(self)
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        """asyncio: a piece of an answer."""
        if self._end is None:  # nobody asked
            self.close()
            return
        self._taken += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:  # also where it speaks another protocol from now on
            self._finish(NoResponse(f"its answer is not HTTP: {error}"))
            self.is_free = False
        if self._taken > _MAX_TAKEN:
            self._cut()

    @staticmethod
    def _ends_with_the_connection(answer: Response) -> bool:
        return not any(name.lower() in _FRAMING for name, _ in answer.headers)

    def on_message_begin(self) -> None:
        """httptools: an answer begins."""
        if self._answer is not None:
            raise ValueError("there is more than one")  # reaches `data_received` as an HttpParserError

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header, of the head or behind the body."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """httptools: the head is there, of the answer or of an interim one."""
        status = self._parser.get_status_code()
        if status < 200 and status != _SWITCHING:
            self._headers = []  # the answer is still to come
        else:
            self._answer, self._headers = Response(status, self._headers), []  # what follows the body is left alone
            self._keeps = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of the body."""
        answer = cast("Response", self._answer)
        answer.body += data[: MAX_READ - len(answer.body)]
        if len(answer.body) == MAX_READ:
            self._cut()

    def on_message_complete(self) -> None:
        """httptools: an answer has come to its end."""
        if self._answer is not None:
            self._finish()
