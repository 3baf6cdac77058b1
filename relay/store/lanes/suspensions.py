"""Reasons why a lane does not send: it is paused, its breaker is open, or a dead letter holds up a chat.

Kept in Redis, so that it outlives the worker that drains the lane, and so that operators can see it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.store import keys
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Pause:
    """The start and the reason of a pause."""

    at_ms: int
    """Unix milliseconds."""
    reason: str


class Suspensions:
    """The pauses and open breakers of all lanes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def pauses(self) -> dict[str, Pause]:
        """The lanes that are paused."""
        rows = await ask(self._redis.hgetall(keys.PAUSED))
        return {name.decode(): Pause(**from_json(text)) for name, text in rows.items()}

    async def pause(self, lane: str, reason: str, now_ms: int) -> bool:
        """Pauses a lane; whether it was not paused before. The first reason stays."""
        return bool(await ask(self._redis.hsetnx(keys.PAUSED, lane, to_json(asdict(Pause(now_ms, reason))).decode())))

    async def resume(self, lane: str) -> bool:
        """Lets a lane go on; whether it was paused."""
        return bool(await ask(self._redis.hdel(keys.PAUSED, lane)))

    async def is_suspended(self, lane: str) -> bool:
        """Return True if anything keeps a lane from sending at its full pace."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hexists(keys.PAUSED, lane)
            pipe.hexists(keys.BREAKERS, lane)
            return any(await pipe.execute())

    async def open_breakers(self) -> dict[str, OpenBreaker]:
        """The breakers that are not closed."""
        rows = await ask(self._redis.hgetall(keys.BREAKERS))
        return {name.decode(): trip for name, text in rows.items() if (trip := OpenBreaker.decode(text))}

    async def open_breaker(self, lane: str) -> OpenBreaker | None:
        """The breaker of a lane, if it is not closed."""
        text: Any = self._redis.hget(keys.BREAKERS, lane)  # bytes here, whatever its annotation says
        return OpenBreaker.decode(await ask(text))

    async def blocked_chats(self, lane: str) -> int:
        """Count the chats of an ordered lane that wait until an operator replays or drops a dead letter."""
        return await ask(self._redis.hlen(keys.lane(lane, "blocked")))

    async def save_open_breaker(self, lane: str, trip: OpenBreaker | None) -> None:
        """Keeps the state of a breaker; None says that it is closed."""
        if trip is None:
            await ask(self._redis.hdel(keys.BREAKERS, lane))
        else:
            await ask(self._redis.hset(keys.BREAKERS, lane, trip.encode().decode()))
