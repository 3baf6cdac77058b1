"""Streams of server-sent events: how many there may be, how each is written, and when it ends.

    source (an iterator of bytes) -> one write at a time, with a deadline -> the client

A stream ends when its source does, when its token is no longer valid or has other rights, when the process stops, or
when the client does not read: nothing is buffered beyond what one write and the connection hold. Before it ends, the
client is told why (`event: end`), as far as it reads. A comment every few seconds keeps proxies from closing it.

One `Streams` serves an application: the connection that waits for arrivals, the rate of tails, and the limits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web
from aiohttp_sse import EventSourceResponse
from pydantic_core import to_json

from relay.core.errors import RelayError, TooMany
from relay.net.http_listener import REQUESTS, is_disconnected
from relay.process.tasks import end_task
from relay.process.timings import load_timings
from relay.services.topics.pull.tail import Tails
from relay.store.driver.client import REDIS_ERRORS, describe
from relay.store.topics.pull.arrivals import Arrivals
from relay.web.handed_over import connection_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    from relay.core.access.principal import Principal
    from relay.process.timings import Timings
    from relay.services.context import Context

MAX_STREAMS = 200
"""Streams of a process."""
MAX_STREAMS_OF_TOKEN = 64
"""Streams of an operator's token, or of all tokens of a team, which makes them itself."""
MAX_POLLS, MAX_POLLS_OF_TOKEN = 400, 64
"""The same of requests that wait for events: they take the place of other requests."""

STOPPING = "the relay is stopping; connect again"
NOT_VALID = "the token is no longer valid"
OTHER_RIGHTS = "the rights of the token have changed; connect again"
MISTAKE = "the relay made a mistake; its log has the cause"
RETRY_MS = 1000
"""Time after which a client of its own accord connects again."""

END = "end"
"""The last message of a stream."""

log = structlog.get_logger()


class Streams:
    """The streams of an application."""

    def __init__(self, arrivals: Arrivals, timings: Timings) -> None:
        self.arrivals = arrivals
        self.tails = Tails(arrivals)
        self.timings = timings
        self._open: Counter[str] = Counter()
        self._polls: Counter[str] = Counter()

    def opened(self, principal: Principal) -> AbstractContextManager[None]:
        """Count a stream while the context is open.

        Raises:
            TooMany: the tokens of the team, an operator's token, or all together, have too many.
        """
        return _counted(self._open, principal, MAX_STREAMS, MAX_STREAMS_OF_TOKEN, "streams")

    def polling(self, principal: Principal) -> AbstractContextManager[None]:
        """Count a request that waits for events while the context is open.

        Raises:
            TooMany: the tokens of the team, an operator's token, or all together, have too many.
        """
        return _counted(self._polls, principal, MAX_POLLS, MAX_POLLS_OF_TOKEN, "requests that wait")


@contextmanager
def _counted(counts: Counter[str], principal: Principal, most: int, most_of_token: int, things: str) -> Iterator[None]:
    holder = f"team {principal.team}" if principal.team else principal.token or principal.name
    if counts[holder] >= most_of_token:
        raise TooMany(f"a team or a token may have {most_of_token} {things} at a time; close one")
    if counts.total() >= most:
        raise TooMany(f"this relay serves {most} {things} at a time; try again later")
    counts[holder] += 1
    try:
        yield
    finally:
        counts[holder] -= 1
        if not counts[holder]:
            del counts[holder]


_streams_key = web.AppKey("streams", Streams)


def add_streams(app: web.Application, context: Context) -> None:
    """Let the handlers of `app` have streams, while it runs."""

    async def serve(app: web.Application) -> AsyncIterator[None]:
        async with Arrivals(context.redis) as arrivals:
            app[_streams_key] = Streams(arrivals, load_timings())
            yield

    app.cleanup_ctx.append(serve)


def streams_of(request: web.Request) -> Streams:
    """Return the streams of the application that serves a request."""
    return request.config_dict[_streams_key]


def is_gone(request: web.Request) -> bool:
    """Return True if the client of a request has disconnected, or the process stops.

    A client that has closed its half of the connection counts as gone: none does that while it waits for events.
    """
    requests = request.config_dict.get(REQUESTS)
    if requests is not None and requests.are_ending:
        return True
    connection = connection_of(request)
    if is_disconnected(request):
        return True
    return connection is not None and connection.is_half_closed


def message(data: dict[str, Any] | str | None = None, *, event: str | None = None, id: str | None = None) -> bytes:  # noqa: A002  its name
    """Return a message; `data` is JSON as text, or what becomes it.

    A message without data only moves the position from which a client resumes.
    """
    lines = [f"id: {id}\n".encode()] if id is not None else []
    if event is not None:
        lines.append(f"event: {event}\n".encode())
    if data is not None:
        text = data.encode() if isinstance(data, str) else to_json(data)
        lines.append(b"data: %b\n" % text)  # in one line: JSON escapes line breaks
    return b"".join((*lines, b"\n"))


async def send_stream(
    request: web.Request,
    principal: Principal,
    source: AsyncGenerator[bytes, None],
    renew: Callable[[], Awaitable[Principal]],
) -> web.StreamResponse:
    """Send what `source` yields until one of the ends of a stream; `renew` returns the token's principal of now.

    Raises:
        TooMany: there are too many streams.
    """
    streams = streams_of(request)
    with streams.opened(principal):
        response = EventSourceResponse(sep="\n")
        response.ping_interval = streams.timings.stream_heartbeat
        await response.prepare(request)
        async with response:
            await response.write(b"retry: %d\n\n" % RETRY_MS)
            sending = asyncio.create_task(_send(response, source, streams.timings.stream_write))
            guards = [asyncio.create_task(_watch(request, principal, renew, streams.timings.stream_check))]
            if requests := request.config_dict.get(REQUESTS):
                guards.append(asyncio.create_task(_until_stopping(requests.ending)))
            reason = await _first(request, sending, *guards)
            is_slow = reason is None and sending.done() and isinstance(sending.exception(), TimeoutError)
            await _close(request, response, reason, streams.timings.stream_write, is_slow=is_slow)
    return response


async def _first(request: web.Request, sending: asyncio.Task[None], *guards: asyncio.Task[str | None]) -> str | None:
    """Wait until a task ends, and end the others; return the reason for the end that the client is told, if any."""
    try:
        await asyncio.wait({sending, *guards}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, *guards):
            await end_task(task)
    if ended := [guard.result() for guard in guards if not guard.cancelled()]:
        return next(filter(None, ended), None)
    error = None if sending.cancelled() else sending.exception()
    if error is None or isinstance(error, TimeoutError | ConnectionError):
        return None
    if isinstance(error, (RelayError, *REDIS_ERRORS)):
        return describe(error)
    log.error("api.error", method=request.method, path=request.path, exc_info=error)
    return MISTAKE


async def _send(response: web.StreamResponse, source: AsyncGenerator[bytes, None], timeout: float) -> None:
    """Write what the source yields, each part within `timeout` seconds."""
    try:
        async for part in source:
            async with asyncio.timeout(timeout):
                await response.write(part)
    finally:
        await source.aclose()


async def _watch(
    request: web.Request, principal: Principal, renew: Callable[[], Awaitable[Principal]], interval: float
) -> str | None:
    """Return why the stream must end: its token is no longer valid or has other rights; None if its client has gone."""
    while True:
        await asyncio.sleep(interval)
        if is_gone(request):
            return None
        try:
            renewed = await renew()
        except REDIS_ERRORS:
            continue  # it was valid; the next look will tell
        except RelayError:
            return NOT_VALID
        if (renewed.team, renewed.scopes, renewed.topics) != (principal.team, principal.scopes, principal.topics):
            return OTHER_RIGHTS


async def _until_stopping(ending: asyncio.Event) -> str | None:
    await ending.wait()
    return STOPPING


async def _close(
    request: web.Request, response: web.StreamResponse, reason: str | None, timeout: float, *, is_slow: bool
) -> None:
    """Tell the client why the stream ends; disconnect one that does not read."""
    with suppress(ConnectionError):
        try:
            async with asyncio.timeout(0 if is_slow else timeout):
                if reason is not None:
                    await response.write(message({"reason": reason}, event=END))
                response.force_close()
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
