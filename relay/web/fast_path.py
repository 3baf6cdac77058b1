"""The short way of a webhook: from the socket to the ingress and back, with nothing but aiohttp's parser between.

Nearly every webhook is the same: a POST to one of our paths, of a known and moderate length, one at a time on its
connection. Anything else (other paths and methods, chunks, long bodies, `Expect`, what is not HTTP) is aiohttp's, and
so is its connection from then on. What is taken here is read by the same parser and answered by the same `Ingress`.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from relay.web.ingress import DIALECTS, Webhook, log_interrupted
from relay.web.responses import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.net.http_listener import ProtocolFactory, Requests
    from relay.web.ingress import Ingress
    from relay.web.responses import Response

_LARGEST = 64 * 1024  # bytes of a request
_TIMEOUT = 30.0  # seconds for a body to come
_KEEP_ALIVE = 3600.0  # seconds that an idle connection is kept: longer than proxies keep theirs
_POST = b"POST /webhooks/linq"
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_EXPECT = b"\r\nexpect:"
_MAX_DIGITS = 10  # of a length


class FastPath:
    """The connections of a listener: a factory of protocols that knows which are open."""

    def __init__(
        self, ingress: Ingress, clock: Callable[[], float], aiohttp: ProtocolFactory, requests: Requests
    ) -> None:
        """`clock` gives Unix seconds; `aiohttp` makes what a connection is handed over to."""
        self.ingress = ingress
        self.aiohttp = aiohttp
        self.requests = requests
        self.open: set[_Connection] = set()
        self._clock = clock
        self._second = -1
        self._date = ""
        self._accepted = b""

    def __call__(self) -> asyncio.Protocol:
        """Takes a connection."""
        return _Connection(self)

    def close(self) -> None:
        """Closes what is still open."""
        for connection in list(self.open):
            connection.close()

    def encode(self, answer: Response, *, closing: bool) -> bytes:
        """`answer` as it goes over the wire; the usual one is written out once a second."""
        if (second := int(self._clock())) != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
            self._accepted = ACCEPTED.encode(self._date, closing=False)
        if answer is ACCEPTED and not closing:
            return self._accepted
        return answer.encode(self._date, closing=closing)


class _Connection(asyncio.Protocol):
    """One connection, with one webhook under way at most."""

    def __init__(self, express: FastPath) -> None:
        self._express = express
        self._loop = asyncio.get_running_loop()
        self._reads_for = BaseProtocol(self._loop)
        self._got = b""
        self._is_under_way = False  # from the head of a webhook to its answer
        self._task: asyncio.Task[None] | None = None  # that answers it
        self._since = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._remote: str | None = (transport.get_extra_info("peername") or (None,))[0]
        self._express.open.add(self)
        self._timer = self._loop.call_later(_TIMEOUT, self._look_at_the_clock)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._is_under_way and self._task is None:
            self._end()
            url = URL(self._got.split(b" ", 2)[1].decode("latin-1"), encoded=True)
            if dialect := DIALECTS.get(url.raw_path):
                webhook = Webhook.at(dialect, url.raw_query_string, CIMultiDict(), self._remote)
                log_interrupted(str(exc or "the connection was closed"), webhook)

    def data_received(self, data: bytes) -> None:
        self._got = self._got + data if self._got else data
        if self._task is None:
            self._go_on()
        else:
            self._transport.pause_reading()  # until the answer is sent

    def pause_writing(self) -> None:
        self._transport.abort()  # it sends and sends, and never reads what it is answered

    def close(self) -> None:
        """Closes the connection, whatever is under way."""
        self._transport.close()

    def _go_on(self) -> None:
        """Takes the next webhook once it is whole; what is none for us is handed over."""
        if read := self._read(self._got):
            self._take(read, len(self._got))
        elif (size := _size_of(self._got)) is None:
            self._hand_over()
        elif len(self._got) < size:
            self._begin()
        elif read := self._read(self._got[:size]):
            self._take(read, size)
        else:
            self._hand_over()

    def _take(self, read: tuple[Webhook, bool], size: int) -> None:
        self._begin()
        self._got = self._got[size:]
        self._task = self._loop.create_task(self._answer(*read))

    def _read(self, data: bytes) -> tuple[Webhook, bool] | None:
        """The one whole webhook that `data` is, and whether its connection ends with it; None if it is not just one."""
        if len(data) > _LARGEST or not data.startswith(_POST):
            return None
        try:
            parser = HttpRequestParser(self._reads_for, self._loop, 2 * _LARGEST, auto_decompress=False)
            messages, _, _ = parser.feed_data(data)
        except HttpProcessingError:
            return None
        if len(messages) != 1:
            return None
        message, payload = messages[0]
        dialect = DIALECTS.get(message.url.raw_path)
        if dialect is None or message.upgrade or not payload.is_eof():
            return None
        body = payload.read_nowait()
        if data.find(_END_OF_HEAD) + len(_END_OF_HEAD) + len(body) != len(data):
            return None  # chunks; or the parser has kept the beginning of a next head, of which it says nothing
        webhook = Webhook.at(dialect, message.url.raw_query_string, message.headers, self._remote, body)
        return webhook, message.should_close

    async def _answer(self, webhook: Webhook, is_last: bool) -> None:  # noqa: FBT001  as `_read` gives it
        express = self._express
        try:
            answer = await express.ingress.receive(webhook)
        except BaseException:
            self._transport.close()  # without an answer: the sender tries again
            raise
        finally:
            self._end()
        if self._transport.is_closing():
            return  # the sender went away without its answer, and will try again
        closing = is_last or express.requests.are_ending
        self._transport.write(express.encode(answer, closing=closing))
        if closing:
            self._transport.close()
        elif self._got:
            self._transport.resume_reading()
            self._go_on()

    def _begin(self) -> None:
        if not self._is_under_way:
            self._is_under_way = True
            self._since = self._loop.time()
            self._express.requests.begin()

    def _end(self) -> None:
        self._is_under_way = False
        self._task = None
        self._since = self._loop.time()
        self._express.requests.end()

    def _hand_over(self) -> None:
        """Leaves the connection, and what has come over it, to aiohttp."""
        self._leave()
        if self._is_under_way:
            self._end()
        protocol = self._express.aiohttp()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._got)

    def _leave(self) -> None:
        self._express.open.discard(self)
        self._timer.cancel()

    def _look_at_the_clock(self) -> None:
        """Closes the connection if it has waited for too long."""
        waited = self._loop.time() - self._since
        if self._task is None and waited > (_TIMEOUT if self._is_under_way else _KEEP_ALIVE):
            self.close()
        else:
            self._timer = self._loop.call_later(_TIMEOUT, self._look_at_the_clock)


def _size_of(data: bytes) -> int | None:
    """How many bytes the request has that `data` begins with; None if it is not one for the short way.

    This only tells how much to wait for: what there is then is read by aiohttp's parser, and refused if it disagrees.
    """
    end = data.find(_END_OF_HEAD)
    if end < 0 or not data.startswith(_POST):
        return None
    head = data[: end + 2].lower()
    at = head.find(_LENGTH)
    if at < 0 or _EXPECT in head:
        return None
    length = head[at + len(_LENGTH) : head.index(b"\r\n", at + 2)].strip()
    if not length.isdigit() or len(length) > _MAX_DIGITS:
        return None
    size = end + len(_END_OF_HEAD) + int(length)
    return size if size <= _LARGEST else None
