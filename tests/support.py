"""Small things that tests share."""

from __future__ import annotations

import asyncio
import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

PATIENCE = 15.0
"""Seconds after which a condition that does not hold is a failure; far more than anything takes."""


@dataclass(slots=True)
class Clock:
    """Unix seconds, standing still."""

    now: float

    def __call__(self) -> float:
        return self.now


async def eventually(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first truthy value of `condition`, which may be a coroutine function; fails when it does not come."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {patience} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)


async def hash_of(redis: Redis, key: str) -> dict[str, str]:
    """A hash of Redis, as text."""
    rows: dict[bytes, bytes] = await redis.hgetall(key)  # type: ignore[misc]  # typed for redis-py's blocking client as well
    return {name.decode(): value.decode() for name, value in rows.items()}
