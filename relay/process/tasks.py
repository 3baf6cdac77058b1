"""Background tasks that end with whoever needs them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

T = TypeVar("T")

_TIMEOUT = 0.1  # seconds until a cancellation counts as lost


@asynccontextmanager
async def in_background(coroutine: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Runs `coroutine` as a task while the context is open; whoever wants its result awaits the task in there.

    Unlike `asyncio.gather`, nothing is left running when something else fails.
    """
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        await end_task(task)
        if not task.cancelled():
            task.exception()  # it was looked at, or something else failed first


async def end_task(task: asyncio.Task[Any] | None, patience: float = _TIMEOUT) -> None:
    """Cancels `task` until it is over, every `patience` seconds; its result, or what it raised, is the caller's.

    Once may not be enough: before Python 3.12 `asyncio.wait_for`, which redis-py writes with, can lose a cancellation
    that arrives as it succeeds (https://github.com/python/cpython/issues/86296), and a loop without end goes on.
    Not for a task that needs time to end: it would be cancelled again meanwhile.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=patience)
