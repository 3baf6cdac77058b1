"""A lane, and a settler that holds the lease of its partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store.lanes.lane import Lane
from relay.store.lanes.settler import Settler
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis

JOB = "relay:deliver:0"


@pytest.fixture
async def lane(redis: Redis) -> Lane:
    lane = Lane(redis, "bot", "support")
    await lane.ensure()
    return lane


@pytest.fixture
async def settler(redis: Redis) -> AsyncIterator[Settler]:
    await redis.set(KEYS.lease(JOB), "me")
    async with Settler(redis, JOB, "me") as settler:
        yield settler
