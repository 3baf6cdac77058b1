"""The blocking consumer: the same as the async one, for `with` and `for`."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from .base import LEAVE_TIMEOUT, LOOK, ConsumerBase
from .clients.blocking import Connected
from .errors import UNAVAILABLE, ConsumerError
from .names import CLAIM_AFTER, DEFAULT_PREFIX, MAX_DELIVERIES, MAX_PREFETCH
from .options import NEXT, Options, checked
from .protocol.part import Tools
from .threads import ThreadRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from .clients.blocking import Client
    from .event import Event
    from .protocol.part import Part
    from .protocol.steps import Steps

Answer = TypeVar("Answer")

SOON = 0.01
"""Seconds after which a thread that was about to give out an event has done so."""

_log = logging.getLogger(__package__)


def consume_sync(  # noqa: PLR0913  all but the first are keyword-only
    redis: str | Client,
    *,
    topic: str,
    group: str,
    member: str | None = None,
    start: str = "0",
    claim_after: float = CLAIM_AFTER,
    max_deliveries: int = MAX_DELIVERIES,
    acknowledge: str = NEXT,
    prefetch: int = MAX_PREFETCH,
    on_lost: Callable[[str, int], object] | None = None,
    key_prefix: str = DEFAULT_PREFIX,
) -> SyncConsumer:
    """Return a consumer of `topic` in `group`; use it with `with`. The arguments and errors are those of `consume`.

    `redis` is a URL, or a client of `redis` that the caller made, and that threads may share: it is not closed.
    """
    options = Options(
        topic, group, member or "", start, claim_after, key_prefix, acknowledge, max_deliveries, prefetch, on_lost
    )
    return SyncConsumer(redis, checked(options))


class SyncConsumer(ConsumerBase):
    """An iterator over the events of a group."""

    def __init__(self, redis: str | Client, options: Options) -> None:
        """Use `consume_sync`."""
        self._connected = Connected(redis)
        super().__init__(options, self._connected.block, is_of_cluster=self._connected.is_of_cluster)
        self._filling, self._left = threading.Lock(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._member.use(Tools(threading.Event, threading.Lock, self._start))

    def __enter__(self) -> Self:
        """Join the group.

        Raises:
            UnknownTopic: the relay has no such topic, even after ten seconds.
            ConsumerError: the topic's key is not a stream, or Redis refuses the credentials or a command.
        """
        try:
            self._connected.run(self._member.join())
        except BaseException:
            self._end_threads()
            self._connected.close()
            raise
        self._begin_thread("heartbeat", self._beat, self._member.parts[0])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Acknowledge the current event if its handler did not raise, hand all others back, and leave the group."""
        failed, self._current = self._current, ()
        if error is None:
            self._settle(failed)
        raised, parts = error if isinstance(error, Exception) else None, self._member.parts
        try:
            self._end_threads()
            if len(parts) == 1:
                self._leave(parts[0], failed, raised)
            else:
                with ThreadPoolExecutor(len(parts)) as pool:
                    list(pool.map(lambda part: self._leave(part, failed, raised), parts))
        finally:
            self._connected.close()

    def _end_threads(self) -> None:
        self._member.stop()
        self._left.set()
        until = time.monotonic() + LEAVE_TIMEOUT
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))

    def _leave(self, part: Part, failed: Sequence[Event], error: Exception | None) -> None:
        of_part = [event for event in failed if event.shard == part.shard]
        try:
            self._connected.of(part.shard).run(part.member.leave(of_part, error))
        except (*UNAVAILABLE, ConsumerError) as reason:
            _log.info("%s could not hand back its events, which are taken over later: %r", self.member, reason)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._take()
        if event is not None:
            return event
        with self._filling:
            event = self._connected.run(self._member.advance())
        if event is None:
            raise StopIteration
        return self._begin(event)

    def batches(self, size: int = 100, wait: float = 1.0) -> Iterator[list[Event]]:
        """Iterate over lists of up to `size` events, each at the latest `wait` seconds after its first event was there.

        A batch is acknowledged when the next one is asked for. An event that was delivered before comes alone.
        """
        while True:
            self._settle(self._current)
            self._current = ()
            with self._filling:
                batch = self._connected.run(self._member.gather(size, wait))
            if not batch:
                return
            self._begin_all(batch)
            yield batch

    def run(self, handler: Callable[[Event], object], *, concurrency: int = 1, stop_timeout: float = 10.0) -> None:
        """Call `handler` with each event until `stop` is called; acknowledge it when that returns.

        Up to `concurrency` events are handled at a time, each in a thread, those of one chat one after the other. If
        the handler raises, the event is handled again after a pause, while its chat waits; it is a dead letter after
        `max_deliveries`. Handlers that are at work at the end have `stop_timeout` seconds; then their events are
        handed back, although a thread cannot be ended.

        Raises:
            ConsumerError: Redis refuses a command.
        """
        running = ThreadRun(self._member, self._connected, handler, concurrency)
        with self._filling:
            running.until_stopped(stop_timeout)

    def ack(self, *events: Event) -> None:
        """Acknowledge events."""
        for event in events:
            self._member.settle(event)
        for shard in sorted({event.shard for event in events}):
            self._connected.of(shard).run(self._member.parts[shard].member.acknowledge(()))

    def reject(self, event: Event, reason: str = "") -> bool:
        """Make the event a dead letter of the group at once; return False if another member has it by now."""
        part = self._member.part_of(event)
        return self._locked(part, part.member.reject(event, reason))

    def release(self, *events: Event) -> None:
        """Hand events back: the next member that asks gets them, perhaps this one."""
        for event in events:
            part = self._member.part_of(event)
            self._locked(part, part.member.release(event))

    def _locked(self, part: Part, steps: Steps[Answer]) -> Answer:
        with part.lock:  # a heartbeat must not claim what is being handed back
            return self._connected.of(part.shard).run(steps)

    def _start(self, part: Part) -> None:
        self._begin_thread("pump", self._pump, part)
        if part.shard:
            self._begin_thread("heartbeat", self._beat, part)

    def _begin_thread(self, what: str, target: Callable[[Part], None], part: Part) -> None:
        name = f"linq-relay-consumer-{what}" + (f"-{part.shard}" if part.shard else "")
        thread = threading.Thread(target=target, args=(part,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, part: Part) -> None:
        self._connected.of(part.shard).run(self._member.pump(part))
        if part.member.is_stopping:
            self._left.wait(SOON)
            with contextlib.suppress(*UNAVAILABLE, ConsumerError):  # leaving tries again
                self._locked(part, part.member.hand_back_waiting())

    def _beat(self, part: Part) -> None:
        member = self._member
        while not self._left.wait(min(LOOK, part.reading.beat_every)):
            with contextlib.suppress(*UNAVAILABLE, ConsumerError):  # reading meets it too, and ends
                self._locked(part, part.member.look_after())
                if member.must_hand_back and self._filling.acquire(blocking=False):
                    try:
                        self._left.wait(SOON)
                        self._locked(part, member.hand_back_waiting())
                    finally:
                        self._filling.release()
