"""Ending background tasks."""

from __future__ import annotations

import asyncio
from typing import Any

_PATIENCE = 0.1  # seconds until a cancellation counts as lost


async def end_task(task: asyncio.Task[Any] | None) -> None:
    """Cancels `task` until it is over; its result, or what it raised, is the caller's to look at.

    Once may not be enough: before Python 3.12 `asyncio.wait_for`, which redis-py writes with, can lose a cancellation
    that arrives as it succeeds (https://github.com/python/cpython/issues/86296), and a loop without end goes on.
    Not for a task that needs time to end: it would be cancelled again meanwhile.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE)
