"""Handling several events at a time, each in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .base import LOOK
from .errors import UNAVAILABLE
from .lanes import Lanes
from .tasks import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .clients.blocking import Connected
    from .event import Event
    from .protocol.part import Part
    from .protocol.whole import WholeMember


class ThreadRun:
    """The work of a call of `SyncConsumer.run`."""

    def __init__(
        self,
        member: WholeMember,
        connected: Connected,
        handler: Callable[[Event], object],
        concurrency: int,
    ) -> None:
        self._member, self._connected, self._handler = member, connected, handler
        self._lanes, self._changed = Lanes(concurrency), threading.Condition()
        self._flushing = threading.Lock()
        self._pool = ThreadPoolExecutor(concurrency, "linq-relay-consumer")
        self._running = 0
        self._error: BaseException | None = None

    def until_stopped(self, stop_timeout: float) -> None:
        """Handle events until the member stops; also if this is interrupted, begun ones are finished."""
        try:
            self._dispatch()
        finally:
            self._member.stop()
            self._finish(stop_timeout)
        if self._error is not None:
            raise self._error

    def _dispatch(self) -> None:
        member, lanes = self._member, self._lanes
        while not member.is_stopping:
            with self._changed:
                if lanes.is_full:
                    self._changed.wait(LOOK)
                    continue
            event = member.take()
            if event is None:
                member.is_idle = lanes.is_empty
                event = self._connected.run(member.advance())
            if event is not None:
                with self._changed:
                    lanes.add(event)
                    self._start()
            if event is None or event.deliveries >= ALONE:
                with self._changed:
                    while not (lanes.is_empty or member.is_stopping):
                        self._changed.wait(LOOK)

    def _start(self) -> None:
        while not self._member.is_stopping and (event := self._lanes.start()) is not None:
            self._running += 1
            self._pool.submit(self._handle, event)

    def _handle(self, event: Event) -> None:
        tried: Event | None = event
        later: threading.Thread | None = None
        try:
            while tried is not None:
                try:
                    self._handler(tried)
                except Exception as error:  # noqa: BLE001, PERF203  logged, and counted as a delivery
                    if self._member.is_sharded:
                        self._lanes.pause(tried)
                        later = threading.Thread(target=self._try_later, args=(tried, error), daemon=True)
                        break
                    tried = self._connected.run(self._member.failed(tried, error))
                    if tried is not None:
                        tried.began = True
                else:
                    self._member.settle(tried)
                    break
            self._acknowledge(self._member.part_of(event))
        except BaseException as error:  # noqa: BLE001  the caller of `run` gets it
            self._error = self._error or error
            self._member.stop()
        finally:
            with self._changed:
                self._running -= 1
                self._lanes.finish(event)
                self._start()
                self._changed.notify_all()
            if later is not None:  # not before the event is finished
                later.start()

    def _try_later(self, event: Event, error: Exception) -> None:
        """Have an event handled again later. Until then it occupies no place of the others: its shard may be away."""
        again: Event | None = None
        try:
            again = self._connected.of(event.shard).run(self._member.failed(event, error))
        except BaseException as raised:  # noqa: BLE001  the caller of `run` gets it
            self._error = self._error or raised
            self._member.stop()
        finally:
            with self._changed:
                self._lanes.resume(event, again)
                self._start()
                self._changed.notify_all()

    def _acknowledge(self, part: Part) -> None:
        """Acknowledge what is done, unless another thread does so; it then takes this event along.

        With several shards the next read of each does so, or its heartbeat: a shard that cannot be reached must not
        keep a thread from the others.
        """
        if self._member.is_sharded:
            return
        while part.reading.done and self._flushing.acquire(blocking=False):
            try:
                self._connected.run(part.member.acknowledge(()))
            finally:
                self._flushing.release()

    def _finish(self, timeout: float) -> None:
        """Hand back what was not begun, then wait for the handlers."""
        with contextlib.suppress(*UNAVAILABLE), self._member.parts[0].lock:
            self._connected.run(self._member.hand_back_waiting())
        until = time.monotonic() + timeout
        with self._changed:
            while self._running and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
        self._pool.shutdown(wait=False)
