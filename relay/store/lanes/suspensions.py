"""What keeps a lane from sending: it is paused, its breaker is open, or a dead letter holds up a chat.

Kept in Redis, so that it outlives the worker that drains the lane, and so that anybody can look.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from relay.core.delivery.circuit_breaker import Trip
from relay.store import keys
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from redis.asyncio import Redis


@dataclass(frozen=True, slots=True)
class Pause:
    """Why and since when a lane is paused."""

    at_ms: int
    """Unix milliseconds."""
    reason: str


class Holds:
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

    async def is_held(self, lane: str) -> bool:
        """Whether anything keeps a lane from sending at its full pace."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hexists(keys.PAUSED, lane)
            pipe.hexists(keys.TRIPS, lane)
            return any(await pipe.execute())

    async def trips(self) -> dict[str, Trip]:
        """The breakers that are not closed."""
        rows = await ask(self._redis.hgetall(keys.TRIPS))
        return {name.decode(): trip for name, text in rows.items() if (trip := Trip.decode(text))}

    async def trip(self, lane: str) -> Trip | None:
        """The breaker of a lane, if it is not closed."""
        text: Any = self._redis.hget(keys.TRIPS, lane)  # bytes here, whatever its annotation says
        return Trip.decode(await ask(text))

    async def chats_held_up(self, lane: str) -> int:
        """How many chats of an ordered lane wait for a person to replay or drop a dead letter."""
        return await ask(self._redis.hlen(keys.lane(lane, "held_up")))

    async def save_trip(self, lane: str, trip: Trip | None) -> None:
        """Keeps the state of a breaker; None says that it is closed."""
        if trip is None:
            await ask(self._redis.hdel(keys.TRIPS, lane))
        else:
            await ask(self._redis.hset(keys.TRIPS, lane, trip.encode().decode()))
