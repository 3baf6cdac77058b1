"""The looks at Linq that agree on deletions, counted in Redis across processes and restarts.

A look is a survey by `apply` or by the scheduled check. A subscription that one look does not find to be deleted starts
again at zero. Looks in quick succession count as one, since a server that answers wrongly does so for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store.driver.client import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from relay.store.driver.client import Redis

APART = 60.0
"""Seconds from one look that counts to the next."""

_LIFETIME = 24 * 3600  # seconds; older looks say nothing about today


class Looks:
    """The counts for the subscriptions of one of Linq's APIs."""

    def __init__(self, redis: Redis, api: str, clock: Callable[[], float]) -> None:
        """`api` is `v3` or `v2`; `clock` returns Unix seconds."""
        self._redis = redis
        self._key = redis.key
        self._api = api
        self._clock = clock

    async def record(self, ids: Collection[str]) -> dict[str, int]:
        """Record a look that found the subscriptions `ids` to be deleted; return the number of looks of each."""
        before, now = await self._rows(), self._clock()
        rows = {}
        for subscription_id in ids:
            count, at = before.get(subscription_id, (0, 0.0))
            rows[subscription_id] = (count + 1, now) if now - at >= APART else (count, at)
        pipe = self._redis.pipeline()
        if dropped := before.keys() - rows.keys():
            pipe.hdel(self._key.linq_looks, *map(self._field, dropped))
        if rows:
            pipe.hset(
                self._key.linq_looks,
                mapping={self._field(name): f"{count} {at}" for name, (count, at) in rows.items()},
            )
            pipe.expire(self._key.linq_looks, _LIFETIME)
        if len(pipe):
            await pipe.execute()
        return {name: count for name, (count, _) in rows.items()}

    async def agree(self, ids: Collection[str], count: int) -> None:
        """Record that a look has confirmed what Linq has said: as if `count` looks had agreed on each of `ids`."""
        if ids:
            row = f"{count} {self._clock()}"
            pipe = self._redis.pipeline()
            pipe.hset(self._key.linq_looks, mapping=dict.fromkeys(map(self._field, ids), row))
            pipe.expire(self._key.linq_looks, _LIFETIME)
            await pipe.execute()

    async def counts(self) -> dict[str, int]:
        """Return the number of looks that agree on the deletion of each subscription."""
        return {name: count for name, (count, _) in (await self._rows()).items()}

    async def _rows(self) -> dict[str, tuple[int, float]]:
        """Return the count and the time of the last look that counted, by subscription."""
        found: dict[bytes, bytes] = await ask(self._redis.hgetall(self._key.linq_looks))
        rows = {}
        for field, row in found.items():
            api, _, name = field.decode().partition(":")
            if api == self._api:
                count, _, at = row.decode().partition(" ")
                rows[name] = (int(count), float(at))
        return rows

    def _field(self, subscription_id: str) -> str:
        return f"{self._api}:{subscription_id}"
