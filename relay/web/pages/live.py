"""Live parts of pages: readings that all open pages share, and streams of rendered parts (server-sent events).

However many pages are open, a reading is taken once every two seconds, and only while one of them shows it. A stream
sends a part only when it has changed. Every two seconds it looks whether the session still has the same rights, and
ends with them. It also ends when its page is closed and when the process stops, since it would hold that up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aiohttp_sse import sse_response

from relay.core.errors import RelayError, TooMany
from relay.net.http_listener import REQUESTS
from relay.process.tasks import end_task
from relay.store.driver.client import REDIS_ERRORS
from relay.web.api.streams import is_gone
from relay.web.pages.shell.visitors import find_visitor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable

    from aiohttp import web
    from aiohttp_sse import EventSourceResponse

    from relay.web.pages.shell.page import Page

    Part = Callable[[], Awaitable[str]]

INTERVAL = 2.0
"""Seconds from one step of a stream to the next, and for which a reading is shared."""
MAX_STREAMS = 200
"""Streams of a process."""
MAX_OF_VISITOR = 32
"""Streams of a team, or of an operator: none may hold all of them."""
_MAX_AGE = 0.9 * INTERVAL
_MAX_PAUSE = 30.0  # seconds; a thousand subscriptions take some tenths of a second to read
_MAX_READINGS = 256
_SIGNED_OUT, _DONE = "signed-out", "done"

Reading = TypeVar("Reading")


class _Shared(NamedTuple):
    """A reading, and the one before it."""

    at: float
    task: asyncio.Task[Any]
    former: asyncio.Task[Any] | None = None

    @property
    def latest(self) -> asyncio.Task[Any]:
        """The reading, or the one before it until it is there."""
        return self.former if self.former is not None and not self.task.done() else self.task

    @property
    def has_failed(self) -> bool:
        """True if it was not possible to read."""
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)

    def is_older(self, now: float, seconds: float) -> bool:
        """Return True if it was begun so long ago."""
        return now - self.at >= seconds


class Live:
    """The readings that are shared, and the streams that are open."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._readings: dict[Hashable, _Shared] = {}
        self._open: Counter[str] = Counter()

    async def shared(self, key: Hashable, read: Callable[[], Awaitable[Reading]]) -> Reading:
        """Return a reading that others share: at most one interval old while it is asked for in each.

        After a pause, the last one is returned and the next one taken meanwhile, unless the pause was long.
        """
        now = asyncio.get_running_loop().time()
        known = self._readings.get(key)
        if known is None or known.is_older(now, _MAX_PAUSE) or known.has_failed:
            self._forget(now)
            known = _Shared(now, asyncio.create_task(_taken(read)))
            if len(self._readings) < _MAX_READINGS:
                self._readings[key] = known
        elif known.is_older(now, _MAX_AGE) and known.task.done():
            self._readings[key] = _Shared(now, asyncio.create_task(_taken(read)), known.task)
            known = self._readings[key]
        reading: Reading = await asyncio.shield(known.latest)
        return reading

    def _forget(self, now: float) -> None:
        """Forget the readings that are not asked for any more."""
        for key in [key for key, old in self._readings.items() if old.is_older(now, _MAX_PAUSE) and old.task.done()]:
            del self._readings[key]

    async def stream(
        self, page: Page, event: str, part: Part, until: Callable[[], bool] | None = None
    ) -> web.StreamResponse:
        """Send a part of a page under the name `event`, and again whenever it has changed.

        It ends when `until` is true, after the last change has been sent, with the event `done`.
        """

        async def parts() -> AsyncGenerator[str, None]:
            while True:
                is_last = until is not None and until()
                with suppress(*REDIS_ERRORS, RelayError):
                    yield await part()
                if is_last:
                    return
                await asyncio.sleep(self._interval)

        return await self.feed(page, event, parts(), end=_DONE)

    async def feed(self, page: Page, event: str, parts: AsyncGenerator[str, None], end: str = "") -> web.StreamResponse:
        """Send each of `parts` under the name `event` as it comes, but none twice in a row; `end` is sent at last."""
        async with aclosing(parts), self._opened(page) as response:
            sending = asyncio.create_task(_send(response, event, parts, end))
            watching = asyncio.create_task(self._watch(page, response))
            tasks = [sending, watching]
            if requests := page.request.config_dict.get(REQUESTS):
                tasks.append(asyncio.create_task(_wait(requests.ending)))
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    await end_task(task)
            response.force_close()
        return response

    @asynccontextmanager
    async def _opened(self, page: Page) -> AsyncIterator[EventSourceResponse]:
        holder = page.principal.team or page.principal.name
        if self._open.total() >= MAX_STREAMS:
            raise TooMany(f"this relay shows {MAX_STREAMS} live pages at a time; load the page again later")
        if self._open[holder] >= MAX_OF_VISITOR:
            raise TooMany(f"{holder} has {MAX_OF_VISITOR} live pages open; close some, and load the page again")
        self._open[holder] += 1
        try:
            async with sse_response(page.request) as response:
                yield response
        finally:
            self._open[holder] -= 1
            if not self._open[holder]:
                del self._open[holder]

    async def _watch(self, page: Page, response: EventSourceResponse) -> None:
        """Return once the stream must end."""
        while not is_gone(page.request):
            with suppress(*REDIS_ERRORS):  # the session was valid; the next look will tell
                if (await find_visitor(page.request)).principal != page.principal:
                    await response.send("", event=_SIGNED_OUT)
                    return
            await asyncio.sleep(self._interval)


async def _send(response: EventSourceResponse, event: str, parts: AsyncGenerator[str, None], end: str) -> None:
    sent = None
    with suppress(ConnectionError):
        async for text in parts:
            if text != sent:
                sent = text
                await response.send(text, event=event)
        if end:
            await response.send("", event=end)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _taken(read: Callable[[], Awaitable[Reading]]) -> Reading:
    return await read()
