"""Suspensions of a lane: it is paused, its circuit breaker is open, or a dead letter blocks a chat.

They are stored in Redis, so that they outlive the lane's worker and operators can see them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from relay.core.delivery.circuit_breaker import OpenBreaker
from relay.store.driver.client import ask
from relay.store.driver.scripts import Script

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

_set_fields = Script(__package__, "set_fields")


@dataclass(frozen=True, slots=True)
class Pause:
    """The start and the reason of a pause."""

    at_ms: int
    """Unix milliseconds."""
    reason: str

    @classmethod
    def decode(cls, text: bytes) -> Pause:
        """Return the pause that `encode` wrote; a damaged record still pauses its lane, and no other."""
        try:
            return cls(**from_json(text))
        except (TypeError, ValueError):
            return cls(0, "its record is damaged")

    def encode(self) -> str:
        """Return the form that Redis stores."""
        return to_json(asdict(self)).decode()


class Suspensions:
    """The pauses and open breakers of all lanes."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = redis.key

    async def pauses(self) -> dict[str, Pause]:
        """Return the paused lanes."""
        rows = await ask(self._redis.hgetall(self._key.paused))
        return {name.decode(): Pause.decode(text) for name, text in rows.items()}

    async def pause(self, lane: str, reason: str, now_ms: int) -> bool:
        """Pause a lane, unless it is paused already; return True if it was not. The first reason is kept."""
        return bool(await ask(self._redis.hsetnx(self._key.paused, lane, Pause(now_ms, reason).encode())))

    async def resume(self, lane: str) -> bool:
        """Resume a lane; return True if it was paused."""
        return bool(await ask(self._redis.hdel(self._key.paused, lane)))

    async def is_suspended(self, lane: str) -> bool:
        """Return True if a lane is paused, or its breaker is not closed."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hexists(self._key.paused, lane)
            pipe.hexists(self._key.breakers, lane)
            return any(await pipe.execute())

    async def open_breakers(self) -> dict[str, OpenBreaker]:
        """Return the breakers that are not closed."""
        rows = await ask(self._redis.hgetall(self._key.breakers))
        return {name.decode(): breaker for name, text in rows.items() if (breaker := OpenBreaker.decode(text))}

    async def open_breaker(self, lane: str) -> OpenBreaker | None:
        """Return the breaker of a lane; None if it is closed."""
        text: Any = self._redis.hget(self._key.breakers, lane)  # bytes, although redis-py annotates it as str
        return OpenBreaker.decode(await ask(text))

    async def blocked_chats(self, lane: str) -> int:
        """Count the chats of an ordered lane that wait until an operator replays or drops a dead letter."""
        return await ask(self._redis.hlen(self._key.lane(lane, "blocked")))

    async def save_open_breaker(self, lane: str, breaker: OpenBreaker | None) -> None:
        """Store the state of a breaker; None means closed."""
        if breaker is None:
            await ask(self._redis.hdel(self._key.breakers, lane))
        else:
            await _set_fields(self._redis, [self._key.breakers], [lane, breaker.encode()])
