"""Fixtures: the surroundings of services on the test's Redis, with two topics, and readers of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.rules.current import Rules
from relay.services.context import Context
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from relay.store.topics.pull.arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.driver.client import Redis

RULES = """
[[topics]]
name = "support"
events = ["*"]

[[topics]]
name = "sales"
events = ["*"]
"""


@pytest.fixture
def context(redis: Redis, redis_url: str, tmp_path: Path) -> Context:
    path = tmp_path / "relay.toml"
    path.write_text(RULES)
    settings = Settings(redis_url=redis_url, relay_config=path, relay_secret_key=SecretStr(new_key()))
    return Context(settings, redis, Rules(settings, redis))


@pytest.fixture
async def arrivals(redis: Redis) -> AsyncIterator[Arrivals]:
    async with Arrivals(redis) as arrivals:
        yield arrivals


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        yield shards


@pytest.fixture
def whole(context: Context, shards: Shards) -> Context:
    """The surroundings of a relay with four shards."""
    return replace(context, redis=shards.home)


@pytest.fixture
async def whole_arrivals(shards: Shards) -> AsyncIterator[Arrivals]:
    async with Arrivals(shards.home) as arrivals:
        yield arrivals
