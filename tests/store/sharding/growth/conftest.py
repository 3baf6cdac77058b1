"""A relay with two shards that is to grow to four."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.store.driver.client import REQUEST_TIMEOUT
from relay.store.sharding.growth.fence import prepare_fences
from relay.store.sharding.growth.state import note_growth
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import Shards, open_shards

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.driver.client import Redis

FORMER, TARGET = 2, 4


@pytest.fixture
async def shards(redis: Redis, redis_url: str) -> AsyncIterator[Shards]:
    """All four, of which two are in use."""
    del redis
    async with open_shards(redis_url, REQUEST_TIMEOUT, count=FORMER) as former:
        await require_number_of_shards(former.home)
    async with open_shards(redis_url, REQUEST_TIMEOUT, count=TARGET) as shards:
        yield shards


@pytest.fixture
async def growing(shards: Shards) -> Shards:
    """The four, of which the first notes that the relay is to grow."""
    await prepare_fences(shards.all, FORMER)
    await note_growth(shards.home, FORMER, TARGET, 1000)
    return shards
