"""The async consumer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from .base import END_TIMEOUT, LEAVE_TIMEOUT, LOOK, ConsumerBase
from .clients.asynchronous import Connected
from .errors import UNAVAILABLE, ConsumerError
from .names import CLAIM_AFTER, DEFAULT_PREFIX, MAX_DELIVERIES, MAX_PREFETCH
from .options import NEXT, Options, checked
from .protocol.part import Tools
from .tasks import Run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from typing_extensions import Self

    from .clients.asynchronous import Client
    from .event import Event
    from .protocol.part import Part
    from .protocol.steps import Steps

Answer = TypeVar("Answer")

_log = logging.getLogger(__package__)


def consume(  # noqa: PLR0913  all but the first are keyword-only
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
) -> Consumer:
    """Return a consumer of `topic` in `group`; use it with `async with`.

    `redis` is the URL of the relay's Redis (`redis://`, `rediss://`, `unix://`, `redis+sentinel://`,
    `redis+cluster://`), or a client of `redis.asyncio` that the caller made: it is not closed, and should have a
    `socket_timeout`.

    `member` names this consumer within the group (default: host and process id). `start` is the position of a new
    group: `0` is the oldest kept event, `$` the next one, or a stream id or Unix milliseconds. `claim_after` is the
    time in seconds after which the events of a silent member are taken over. An event that was delivered
    `max_deliveries` times (0: no limit) becomes a dead letter of the group. `acknowledge` is `next` (an event is
    acknowledged when the next one is asked for) or `explicit` (`ack`, `reject`, `release`). `prefetch` bounds what is
    read ahead. `on_lost` is called with `missed` or `trimmed` and a number when events were trimmed before
    they were handled. `key_prefix` is the relay's RELAY_KEY_PREFIX, if it has one; on a
    cluster it is made the hash tag that it is there.

    Raises:
        ValueError: an option cannot be used, such as a name that is reserved for the relay (`push:...`, `relay:...`).
        TypeError: `redis` is a blocking client.
    """
    options = Options(
        topic, group, member or "", start, claim_after, key_prefix, acknowledge, max_deliveries, prefetch, on_lost
    )
    return Consumer(redis, checked(options))


class Consumer(ConsumerBase):
    """An async iterator over the events of a group."""

    def __init__(self, redis: str | Client, options: Options) -> None:
        """Use `consume`."""
        self._connected = Connected(redis)
        super().__init__(options, self._connected.block, is_of_cluster=self._connected.is_of_cluster)
        self._heartbeats: list[asyncio.Task[None]] = []
        self._pumps: list[asyncio.Task[None]] = []
        self._is_leaving = False
        """True once no handler of this member can be at work."""
        self._filling: Any = None

    async def __aenter__(self) -> Self:
        """Join the group.

        Raises:
            UnknownTopic: the relay has no such topic, even after ten seconds.
            ConsumerError: the topic's key is not a stream, or Redis refuses the credentials or a command.
        """
        self._filling = asyncio.Lock()  # of the running loop, for Python 3.9
        self._member.use(Tools(asyncio.Event, asyncio.Lock, self._start))
        try:
            await self._connected.run(self._member.join())
        except BaseException:
            await self._end_tasks()
            await self._connected.aclose()
            raise
        self._heartbeats.append(asyncio.create_task(self._beat(self._member.parts[0])))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Acknowledge the current event if its handler did not raise, hand all others back, and leave the group."""
        failed, self._current = self._current, ()
        if error is None:
            self._settle(failed)
        raised = error if isinstance(error, Exception) else None
        try:
            await self._end_tasks()
            await asyncio.gather(*(self._leave(part, failed, raised) for part in self._member.parts))
        finally:
            await self._connected.aclose()

    async def _end_tasks(self) -> None:
        self._member.stop()
        self._is_leaving = True
        for task in self._heartbeats:
            task.cancel()
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=END_TIMEOUT)  # a read that was cancelled may take events
            for task in late:
                task.cancel()
        if tasks := [*self._heartbeats, *self._pumps]:
            await asyncio.wait(tasks, timeout=LEAVE_TIMEOUT)

    async def _leave(self, part: Part, failed: Sequence[Event], error: Exception | None) -> None:
        of_part = [event for event in failed if event.shard == part.shard]
        leaving = self._connected.of(part.shard).run(part.member.leave(of_part, error))
        try:
            await asyncio.wait_for(leaving, LEAVE_TIMEOUT)
        except (*UNAVAILABLE, asyncio.TimeoutError, ConsumerError) as reason:
            _log.info("%s could not hand back its events, which are taken over later: %r", self.member, reason)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = self._take()
        if event is not None:
            return event
        async with self._filling:
            event = await self._connected.run(self._member.advance())
        if event is None:
            raise StopAsyncIteration
        return self._begin(event)

    async def batches(self, size: int = 100, wait: float = 1.0) -> AsyncIterator[list[Event]]:
        """Iterate over lists of up to `size` events, each at the latest `wait` seconds after its first event was there.

        A batch is acknowledged when the next one is asked for. An event that was delivered before comes alone.
        """
        while True:
            self._settle(self._current)
            self._current = ()
            async with self._filling:
                batch = await self._connected.run(self._member.gather(size, wait))
            if not batch:
                return
            self._begin_all(batch)
            yield batch

    async def run(
        self, handler: Callable[[Event], Awaitable[object]], *, concurrency: int = 1, stop_timeout: float = 10.0
    ) -> None:
        """Call `handler` with each event until `stop` is called or this is cancelled; acknowledge it when that returns.

        Up to `concurrency` events are handled at a time, those of one chat one after the other. If the handler raises,
        the event is handled again after a pause, while its chat waits; it is a dead letter after `max_deliveries`.
        Handlers that are at work at the end have `stop_timeout` seconds, then they are cancelled.

        Raises:
            ConsumerError: Redis refuses a command.
        """
        running = Run(self._member, self._connected, handler, concurrency)
        async with self._filling:
            await running.until_stopped(stop_timeout)

    async def ack(self, *events: Event) -> None:
        """Acknowledge events."""
        for event in events:
            self._member.settle(event)
        for shard in sorted({event.shard for event in events}):
            await self._connected.of(shard).run(self._member.parts[shard].member.acknowledge(()))

    async def reject(self, event: Event, reason: str = "") -> bool:
        """Make the event a dead letter of the group at once; return False if another member has it by now."""
        part = self._member.part_of(event)
        return await self._locked(part, part.member.reject(event, reason))

    async def release(self, *events: Event) -> None:
        """Hand events back: the next member that asks gets them, perhaps this one."""
        for event in events:
            part = self._member.part_of(event)
            await self._locked(part, part.member.release(event))

    async def _locked(self, part: Part, steps: Steps[Answer]) -> Answer:
        async with part.lock:  # a heartbeat must not claim what is being handed back
            return await self._connected.of(part.shard).run(steps)

    def _start(self, part: Part) -> None:
        self._pumps.append(asyncio.create_task(self._pump(part)))
        if part.shard:
            self._heartbeats.append(asyncio.create_task(self._beat(part)))

    async def _pump(self, part: Part) -> None:
        await self._connected.of(part.shard).run(self._member.pump(part))
        if part.member.is_stopping:
            with contextlib.suppress(*UNAVAILABLE, ConsumerError):  # leaving tries again
                await self._locked(part, part.member.hand_back_waiting())

    async def _beat(self, part: Part) -> None:
        member = self._member
        while not self._is_leaving:  # a library may swallow the cancellation
            await asyncio.sleep(min(LOOK, part.reading.beat_every))
            with contextlib.suppress(*UNAVAILABLE, ConsumerError):  # reading meets it too, and ends
                await self._locked(part, part.member.look_after())
                if member.must_hand_back and not self._filling.locked():
                    async with self._filling:
                        await self._locked(part, member.hand_back_waiting())
