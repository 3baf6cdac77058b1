"""Handling several events at a time, each in a task."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from .base import LOOK
from .errors import UNAVAILABLE
from .lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .clients.asynchronous import Connected
    from .event import Event
    from .protocol.whole import WholeMember

ALONE = 3
"""Deliveries from which an event is handled with no other at the same time: it may kill its process."""
_GATHER = 0.01  # seconds from the end of a handler to its acknowledgement, if nothing takes that along before


class Run:
    """The work of a call of `Consumer.run`."""

    def __init__(
        self,
        member: WholeMember,
        connected: Connected,
        handler: Callable[[Event], Awaitable[object]],
        concurrency: int,
    ) -> None:
        self._member, self._connected, self._handler = member, connected, handler
        self._lanes = Lanes(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushers: dict[int, asyncio.Task[None]] = {}  # by shard
        self._changed = asyncio.Event()
        self._error: BaseException | None = None

    async def until_stopped(self, stop_timeout: float) -> None:
        """Handle events until the member stops or this is cancelled."""
        try:
            await self._dispatch()
        finally:
            self._member.stop()
            try:
                await self._finish(stop_timeout)
            finally:
                for task in self._tasks:
                    task.cancel()
        if self._error is not None:
            raise self._error

    async def _dispatch(self) -> None:
        member, lanes = self._member, self._lanes
        while not member.is_stopping:
            if lanes.is_full:
                await self._change()
                continue
            event = member.take()
            if event is None:
                member.is_idle = lanes.is_empty
                event = await self._connected.run(member.advance())
            if event is not None:
                lanes.add(event)
                self._start()
            if event is None or event.deliveries >= ALONE:
                await self._until_idle()

    async def _until_idle(self) -> None:
        while not (self._lanes.is_empty or self._member.is_stopping):
            await self._change()

    async def _change(self) -> None:
        """Wait for something to do; look at times whether the member stops, since a stop sets no event."""
        self._changed.clear()
        look = asyncio.get_running_loop().call_later(LOOK, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            look.cancel()

    def _start(self) -> None:
        while not self._member.is_stopping and (event := self._lanes.start()) is not None:
            self._begin(self._work(event))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, event: Event) -> None:
        """Handle an event, and then others that may begin: a task for each would take longer than a quick handler."""
        following: Event | None = event
        while following is not None:
            try:
                await self._handle(following)
            finally:
                self._lanes.finish(following)
                if not self._lanes.is_full:
                    self._changed.set()
            following = None if self._member.is_stopping else self._lanes.start()

    async def _handle(self, event: Event) -> None:
        tried: Event | None = event
        try:
            while tried is not None:
                try:
                    await self._handler(tried)
                except Exception as error:  # noqa: BLE001, PERF203  logged, and counted as a delivery
                    if self._member.is_sharded:
                        self._lanes.pause(tried)
                        self._begin(self._try_later(tried, error))
                        return
                    tried = await self._connected.run(self._member.failed(tried, error))
                    if tried is not None:
                        tried.began = True
                else:
                    self._member.settle(tried)
                    self._acknowledge_soon(tried.shard)
                    break
        except Exception as error:  # noqa: BLE001  of Redis: the caller of `run` gets it
            self._fail(error)

    async def _try_later(self, event: Event, error: Exception) -> None:
        """Have an event handled again later. Until then it occupies no place of the others: its shard may be away."""
        again: Event | None = None
        try:
            again = await self._connected.of(event.shard).run(self._member.failed(event, error))
        except Exception as raised:  # noqa: BLE001  of Redis: the caller of `run` gets it
            self._fail(raised)
        finally:
            self._lanes.resume(event, again)
            self._start()
            self._changed.set()

    def _acknowledge_soon(self, shard: int) -> None:
        flusher = self._flushers.get(shard)
        if flusher is None or flusher.done():
            self._flushers[shard] = asyncio.create_task(self._acknowledge(shard))

    async def _acknowledge(self, shard: int) -> None:
        reading, connected = self._member.readings[shard], self._connected.of(shard)
        try:
            while reading.done:
                await asyncio.sleep(_GATHER)  # several together, or with the next read
                await connected.run(reading.flush(must=True))
        except Exception as error:  # noqa: BLE001  the caller of `run` gets it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._member.stop()
        self._changed.set()

    async def _finish(self, timeout: float) -> None:
        """Hand back what was not begun, then wait for the handlers."""
        with contextlib.suppress(*UNAVAILABLE, asyncio.TimeoutError):
            async with self._member.parts[0].lock:
                await asyncio.wait_for(self._connected.run(self._member.hand_back_waiting()), timeout)
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._flushers:
            _, late = await asyncio.wait(self._flushers.values(), timeout=timeout)
            for task in late:  # its shard cannot be reached
                task.cancel()
