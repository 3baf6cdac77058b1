"""Live parts of pages: readings that all open pages share, and streams of rendered parts (server-sent events).

However many pages are open, a reading is taken once every two seconds, and only while one of them shows it. A stream
sends a part only when it has changed, and looks at each step whether the session still exists: it ends with it. It also
ends when the process stops, since an open response would hold that up.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp_sse import sse_response

from relay.store.driver.client import REDIS_ERRORS
from relay.web.pages.shell.visitors import find_visitor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable

    from aiohttp import web
    from aiohttp_sse import EventSourceResponse

    from relay.web.pages.shell.site import Page

    Part = Callable[[], Awaitable[str]]

INTERVAL = 2.0
"""Seconds from one step of a stream to the next, and for which a reading is shared."""
_MAX_AGE = 0.9 * INTERVAL
_MAX_READINGS = 256

Reading = TypeVar("Reading")


class Live:
    """The readings that are shared, and the streams that are open."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self._interval = interval
        self._readings: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}
        self._is_stopping = asyncio.Event()

    async def shared(self, key: Hashable, read: Callable[[], Awaitable[Reading]]) -> Reading:
        """Return a reading that is at most one interval old; those who ask at the same time wait for the same one."""
        now = asyncio.get_running_loop().time()
        if (known := self._readings.get(key)) and now - known[0] < _MAX_AGE:
            return await asyncio.shield(known[1])  # type: ignore[no-any-return]
        for old in [old for old, (at, _) in self._readings.items() if now - at >= _MAX_AGE]:
            del self._readings[old]
        task = asyncio.ensure_future(_taken(read))
        if len(self._readings) < _MAX_READINGS:
            self._readings[key] = (now, task)
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                self._readings.pop(key, None)
            raise

    async def stop(self, _: web.Application) -> None:
        """End every stream."""
        self._is_stopping.set()

    async def feed(self, page: Page, event: str, parts: AsyncGenerator[str, None]) -> web.StreamResponse:
        """Send each of `parts` under the name `event` as it comes."""
        async with aclosing(parts), sse_response(page.request) as response:
            waiting: asyncio.Future[str] | None = None
            time, checked = asyncio.get_running_loop().time, -self._interval
            with suppress(ConnectionResetError, StopAsyncIteration):
                while response.is_connected() and not self._is_stopping.is_set():
                    if time() - checked >= self._interval:
                        if not await _may_go_on(page, response):
                            break
                        checked = time()
                    waiting = waiting or asyncio.ensure_future(anext(parts))
                    await asyncio.wait({waiting}, timeout=self._interval)
                    if waiting.done():
                        text, waiting = waiting.result(), None
                        await response.send(text, event=event)
            if waiting is not None:
                waiting.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await waiting
        return response

    async def stream(
        self, page: Page, event: str, part: Part, until: Callable[[], bool] | None = None
    ) -> web.StreamResponse:
        """Send a part of a page under the name `event`, and again whenever it has changed.

        It ends when `until` is true, after the last change has been sent, with the event `done`.
        """
        async with sse_response(page.request) as response:
            sent = ""
            with suppress(ConnectionResetError, TimeoutError):
                while response.is_connected() and not self._is_stopping.is_set() and await _may_go_on(page, response):
                    is_last = until is not None and until()
                    with suppress(*REDIS_ERRORS):
                        text = await part()
                        if text != sent:
                            sent = text
                            await response.send(text, event=event)
                    if is_last:
                        await response.send("", event="done")
                        break
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._is_stopping.wait(), self._interval)
        return response


async def _may_go_on(page: Page, response: EventSourceResponse) -> bool:
    """Return True if the session still has the same rights; else tell the page."""
    if (await find_visitor(page.request)).principal == page.principal:
        return True
    await response.send("", event="signed-out")
    return False


async def _taken(read: Callable[[], Awaitable[Reading]]) -> Reading:
    return await read()
