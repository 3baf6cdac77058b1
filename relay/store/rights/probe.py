"""Probe of Redis for readiness checks: does it respond, and does it allow what the relay does there?

Redis is asked at most twice a second, however often the probe is asked. The rights are checked once, and again after
each time that Redis could not be used: another user, or another server, may be behind its address.

An ingress of several shards is ready while any of them answers: it accepts the events of those, and if it were not
ready, the load balancer would send it none.
"""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError

from relay.core.errors import SettingsError
from relay.store.driver.client import REDIS_ERRORS, REQUEST_TIMEOUT, describe
from relay.store.rights.check import check_access

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from relay.store.rights.watch import RightsWatch

_MAX_AGE = 0.5  # seconds that a response of Redis counts
_REFUSED = (AuthenticationError, AuthenticationWrongNumberOfArgsError, NoPermissionError)


class RedisState(StrEnum):
    """State of Redis, in words that may be shown to anyone."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """The credentials are wrong, or their user has too few rights."""


class RedisProbe:
    """The state of a Redis, as it was at most half a second ago."""

    def __init__(self, redis: Redis, rights: RightsWatch | None = None, *, any_shard: bool = False) -> None:
        """`rights` says whether rights were taken away since they were checked here.

        With `any_shard`, a shard beside the first one, `redis`, is enough.
        """
        self._redis = redis
        self._spares = redis.others if any_shard else ()
        self._rights = rights
        self.state = RedisState.OK
        self.detail: str = RedisState.OK
        """The state for operators, with the error."""
        self._has_access = False
        self._asked_at = -_MAX_AGE
        self._asking = asyncio.Lock()

    async def ask(self) -> None:
        """Update the state, unless that was done a moment ago."""
        async with self._asking:
            if time.monotonic() - self._asked_at < _MAX_AGE:
                return
            self.state, text = await self._ask()
            self.detail = f"{self.state}: {text}" if text else self.state
            self._has_access = self.state is RedisState.OK
            self._asked_at = time.monotonic()

    async def _ask(self) -> tuple[RedisState, str]:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._redis.ping()
            if not self._has_access:
                await check_access(self._redis)
            if self._rights is not None and self._rights.refusal:
                return RedisState.REFUSED, self._rights.refusal
        except SettingsError as error:
            return RedisState.REFUSED, "; ".join(map(str, error.problems))
        except _REFUSED as error:
            return RedisState.REFUSED, f"REDIS_URL: {describe(error)}"
        except REDIS_ERRORS as error:
            if any(await asyncio.gather(*map(_answers, self._spares))):
                return RedisState.OK, ""
            return RedisState.UNREACHABLE, describe(error)
        return RedisState.OK, ""


async def _answers(shard: Redis) -> bool:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            await shard.ping()
    except REDIS_ERRORS:
        return False
    return True
