"""Rounds of raw fuzzing, each on a world that is made anew; every other one has the tokens of one team alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.store.driver.client import Redis, ask
from tests.web.api.fuzzing import OF_BLUE
from tests.web.api.raw.run import EVERY_KIND, TEAM_KINDS, Found, fuzz
from tests.web.api.world import BLUE

if TYPE_CHECKING:
    from tests.web.api.fuzzing import Target

HIDDEN = (*OF_BLUE, "blue confidential", "blue-owner", "blue token")
"""Texts of the other team that are no ids, so that no request has them."""
_SHARED = ("tokens", "teams", "subscriptions")


class Rounds:
    """The rounds of a run."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._seed = seed
        self._count = 0
        self.found = Found()

    def one(self, requests: int) -> None:
        """Make the world anew, and send so many requests."""
        if self._count:
            self._target.seed()
        asyncio.run(self._one(requests))
        self._count += 1

    async def _one(self, requests: int) -> None:
        target, is_alone = self._target, self._count % 2 == 0
        redis = Redis.from_url(target.redis_url)
        before = await theirs(redis)
        kinds = TEAM_KINDS if is_alone else EVERY_KIND
        port = urlsplit(target.url).port or 0
        await fuzz(port, target.world, kinds, requests, self._seed + self._count, HIDDEN, self.found)
        if is_alone:
            self.found.faults += changed(before, await theirs(redis))
        await redis.aclose()


async def theirs(redis: Redis) -> dict[str, object]:
    """Return what the other team has in Redis, by key."""
    found: dict[str, object] = {}
    async for key in redis.scan_iter(f"{redis.key.prefix}:*{BLUE}-*", count=1000):
        if b":idempotency:" not in key:
            found[key.decode()] = await redis.dump(key)
    for part in _SHARED:
        for name, row in (await ask(redis.hgetall(f"{redis.key.prefix}:{part}"))).items():
            if BLUE.encode() in name + row:
                found[f"{part} {name.decode()}"] = row
    return found


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Return what was changed, as faults."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [f"another team's {name} was changed, made or deleted" for name in names]
