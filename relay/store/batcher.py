"""Sharing round trips: while one batch is under way the next one gathers.

A batch is therefore as large as the load makes it, and a lone item waits for nobody. When a batch fails, everybody who
waited behind it fails with it, at once and not one timeout later.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from relay.tasks import end_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")
_Waiting = tuple[Item, asyncio.Future[Result], float]
"""An item, its caller, and since when it waits (seconds of the loop's clock)."""


class Batcher(Generic[Item, Result]):
    """Collects items of concurrent callers and hands them on in batches. Enter it as a context."""

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        size_of: Callable[[Item], int],
        most_items: int,
        most_bytes: int,
        longest_wait: float = inf,
    ) -> None:
        """`send` takes a batch and gives one result per item; what it raises reaches every caller.

        An item that has waited for more than `longest_wait` seconds is not sent: its caller gets a TimeoutError.
        """
        self._send = send
        self._size_of = size_of
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._longest_wait = longest_wait
        self._waiting: list[_Waiting[Item, Result]] = []
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="batcher")
        return self

    async def __aexit__(self, *_: object) -> None:
        await end_task(self._task)
        self._fail(self._waiting, asyncio.CancelledError())

    async def submit(self, item: Item) -> Result:
        """The result for `item`, once its batch is through."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future, loop.time()))
        self._work.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._refuse_late_ones()
            batch = self._take()
            try:
                results = await self._send([item for item, *_ in batch]) if batch else ()
            except Exception as error:  # noqa: BLE001  the callers get it, whatever it is
                self._fail(batch, error)
                self._fail(self._waiting, error)
                self._waiting = []
            except asyncio.CancelledError:
                self._fail(batch, asyncio.CancelledError())
                raise
            else:
                for (_, future, _), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
            if not self._waiting:
                self._work.clear()

    def _refuse_late_ones(self) -> None:
        """They wait in the order in which they came, so those that are late stand first."""
        earliest = asyncio.get_running_loop().time() - self._longest_wait
        late = 0
        while late < len(self._waiting) and self._waiting[late][2] < earliest:
            late += 1
        if late:
            self._fail(self._waiting[:late], TimeoutError("too many wait before it"))
            self._waiting = self._waiting[late:]

    def _take(self) -> list[_Waiting[Item, Result]]:
        size = 0
        for count, (item, *_) in enumerate(self._waiting):
            size += self._size_of(item)
            if count == self._most_items or (count and size > self._most_bytes):
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
