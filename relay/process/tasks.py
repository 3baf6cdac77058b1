"""Background tasks that end with the scope that started them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

T = TypeVar("T")

_CANCEL_INTERVAL = 1.0  # seconds until a cancellation counts as lost; with 0.1, busy machines left connections unclosed
_CLEANUP_INTERVAL = 5.0  # the same where a task may clean up, as HTTP clients do: they close their connections


@asynccontextmanager
async def in_background(coroutine: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `coroutine` as a task while the context is open; await the task inside it to get its result.

    Unlike with `asyncio.gather`, the task does not stay running if the body of the context fails.
    """
    task = asyncio.create_task(coroutine)
    task.add_done_callback(_retrieve)  # the body awaited the task, or failed first
    try:
        yield task
    finally:
        await end_task(task, _CLEANUP_INTERVAL)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Mark the exception of a task as retrieved, also of one that outlives its scope, whose end was cancelled."""
    if not task.cancelled():
        task.exception()


async def end_task(task: asyncio.Task[Any] | None, interval: float = _CANCEL_INTERVAL) -> None:
    """Cancel `task` every `interval` seconds until it is done; the caller reads its result or exception.

    A single cancellation can be lost: before Python 3.12, `asyncio.wait_for`, which redis-py uses for writes, loses one
    that arrives as it succeeds (https://github.com/python/cpython/issues/86296), and an endless loop would continue.
    Not for a task whose cleanup takes longer than `interval`: the cleanup would be cancelled too.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=interval)


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set, at most `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
