"""The whole examination; what cannot be examined is a finding, too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relay.core.errors import RelayError
from relay.doctor.finding import problem
from relay.doctor.lane_checks import examine_destinations, examine_lanes
from relay.doctor.linq_checks import AREA as LINQ
from relay.doctor.linq_checks import examine_linq
from relay.doctor.redis_checks import AREA as REDIS
from relay.doctor.redis_checks import examine_redis
from relay.store.driver.client import RedisTrouble, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from redis.asyncio import Redis

    from relay.config.file import Loaded
    from relay.config.settings import Settings
    from relay.doctor.finding import Finding


async def examine(settings: Settings, redis: Redis, loaded: Loaded) -> list[Finding]:
    """Everything that there is to say, the foundations first."""
    config = loaded.config
    findings = await _tried(REDIS, examine_redis(redis, settings), "look at REDIS_URL, and whether Redis runs")
    findings += await _tried("subscriptions", examine_lanes(redis, config), "look at Redis")
    findings += await examine_destinations(loaded)
    return findings + await _tried(
        LINQ, examine_linq(settings, redis, config, time.time()), "see what the message says; relay bootstrap status"
    )


async def _tried(area: str, examination: Awaitable[list[Finding]], remedy: str) -> list[Finding]:
    try:
        return await examination
    except (RelayError, *RedisTrouble) as error:
        return [problem(area, describe(error), remedy)]
