"""Batching of concurrent calls: while batches are in flight, the next one fills.

The load therefore sets the size of a batch, and a lone item does not wait. Where two batches can be in flight, a burst
is split in two, so that this process works on one half while Redis works on the other; otherwise each would wait for
the other. When a batch fails, every item that waits behind it fails at once, not one timeout later.

An item whose caller is in no hurry may linger: it is sent with the next that does not, or after a fixed time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import islice
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from relay.process.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from relay.store.driver.ordered_connection import OrderedConnection

_MIN_SPLIT = 16
"""Items; fewer are not split, since a round trip costs as much as some ten of them."""

Item = TypeVar("Item")
Group = TypeVar("Group")
Result = TypeVar("Result")
Batches = TypeVar("Batches", bound="Batcher[Any, Any]")
_Waiting = tuple[Item, asyncio.Future[Result], float]
"""An item, its caller's future, and the time when it was queued (seconds of the loop's clock)."""


class Batcher(Generic[Item, Result]):
    """Collects items of concurrent callers and sends them in batches. Enter it as a context."""

    def __init__(  # noqa: PLR0913  the bounds of a batch
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        size_of: Callable[[Item], int],
        max_items: int,
        max_bytes: int,
        max_in_flight: int = 1,
        min_beside: int = 1,
        max_wait: float = inf,
        linger: float = 0.0,
        connection: OrderedConnection | None = None,
    ) -> None:
        """`send` takes a batch and gives one result per item; what it raises reaches every caller.

        Up to `max_in_flight` calls of it run concurrently; beside one in flight, the next waits for `min_beside` items.
        With a `max_wait`, items that have waited for more seconds are not sent, and their callers get a TimeoutError;
        nor are those whose callers wait no longer. `linger` is the time that an item waits for company, seconds.
        `connection` is that of `send`, which is closed with the context.
        """
        self._send = send
        self._size_of = size_of
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._max_in_flight = max_in_flight
        self._min_beside = min_beside
        self._free = max_in_flight  # batches that can be sent before one in flight is done
        self._max_wait = max_wait
        self._linger = linger
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None  # of the first item that lingers
        self._waiting: list[_Waiting[Item, Result]] = []
        self._is_due = False  # True if an item waits that does not linger any more
        self._is_ready = False  # True if the next batch is to be sent, which a task was told
        self._idle: list[asyncio.Future[None]] = []  # of the tasks that wait; an event would wake all for each item
        self._tasks: list[asyncio.Task[None]] = []
        # Stored, since asking for the running loop is a system call in Python 3.11: 3 us of the ingress's 35 an event.
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(), name="batcher") for _ in range(self._max_in_flight)]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            while self._tasks:  # none is kept: a task that was cancelled has the error, whose frame has this object
                await end_task(self._tasks.pop())
            self._fail(self._waiting, asyncio.CancelledError())
        finally:
            if self._connection is not None:
                await self._connection.aclose()

    def submit(self, item: Item, *, lingers: bool = False) -> asyncio.Future[Result]:
        """Queue `item`, which may linger; the future gets its result when its batch is done."""
        future: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append((item, future, self._loop.time()))
        if not lingers or len(self._waiting) >= self._max_items:
            self._is_due = True
            if not self._is_ready:
                self._signal()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._linger, self._end_lingering)
        return future

    def _end_lingering(self) -> None:
        self._timer = None
        if self._waiting:
            self._is_due = True
            self._signal()

    def _signal(self) -> None:
        """Let one of the tasks send the next batch if it is ready, unless one was told already."""
        was_ready, self._is_ready = self._is_ready, self._has_batch()
        if self._is_ready and not was_ready:
            while self._idle:
                idle = self._idle.pop()
                if not idle.done():  # cancelled with its task
                    idle.set_result(None)
                    return

    def _has_batch(self) -> bool:
        least = 1 if self._free == self._max_in_flight else self._min_beside
        return self._is_due and len(self._waiting) >= least

    async def _run(self) -> None:
        while True:
            while not self._is_ready:
                self._idle.append(self._loop.create_future())
                await self._idle[-1]
            self._fail_expired()
            batch = self._take()
            self._free -= 1
            self._is_due, self._is_ready = bool(self._waiting), False
            self._signal()
            try:
                results = await self._send([item for item, *_ in batch]) if batch else ()
            except Exception as error:  # noqa: BLE001  the callers get it, whatever it is
                self._fail(batch, error)
                self._fail(self._waiting, error)
                self._waiting, self._is_due = [], False
            except asyncio.CancelledError:
                self._fail(batch, asyncio.CancelledError())
                raise
            else:
                for (_, future, _), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
            self._free += 1
            self._is_ready = self._has_batch()  # which this task sends

    def _fail_expired(self) -> None:
        """Drop the items that have waited too long or were left; they are first, since the queue is FIFO."""
        if self._max_wait == inf:
            return
        earliest = self._loop.time() - self._max_wait
        expired = 0
        while expired < len(self._waiting):
            _, future, since = self._waiting[expired]
            if since >= earliest and not future.done():
                break
            expired += 1
        if expired:
            self._fail(self._waiting[:expired], TimeoutError("too many requests are queued before it"))
            self._waiting = self._waiting[expired:]

    def _take(self) -> list[_Waiting[Item, Result]]:
        share = ceil(len(self._waiting) / self._free)
        max_count, size = min(max(share, _MIN_SPLIT), self._max_items), 0
        for count, (item, *_) in enumerate(self._waiting):
            size += self._size_of(item)
            if count == max_count or (count and size > self._max_bytes):
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                return batch
        batch, self._waiting = self._waiting, []
        return batch

    @staticmethod
    def _fail(waiting: Sequence[_Waiting[Item, Result]], error: BaseException) -> None:
        for _, future, _ in waiting:
            if future.done():
                continue
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)


class UserOfBatches(Generic[Batches]):
    """Base of those that use batches, which they share with others or have by themselves. Enter it as a context."""

    def __init__(self, make: Callable[[], Batches], shared: Batches | None) -> None:
        """`shared` are open batches; without them those that `make` returns are open while the context is."""
        self._batches = make() if shared is None else shared
        self._is_own = shared is None

    async def __aenter__(self) -> Self:
        if self._is_own:
            await self._batches.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._is_own:
            await self._batches.__aexit__(*error)


def by_group(items: Sequence[tuple[Item, Group]]) -> dict[Group, list[Item]]:
    """Return the items of a batch, each with its group, by group."""
    groups: defaultdict[Group, list[Item]] = defaultdict(list)
    for item, group in items:
        groups[group].append(item)
    return groups


def in_order_of(
    items: Sequence[tuple[Item, Group]], groups: Mapping[Group, Sequence[Item]], results: list[Result]
) -> list[Result]:
    """Return results, which are in the order of the groups, in that of the items."""
    if len(groups) == 1:
        return results
    following = iter(results)
    each = {group: iter(list(islice(following, len(members)))) for group, members in groups.items()}
    return [next(each[group]) for _, group in items]
