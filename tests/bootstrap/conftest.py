"""A sandbox in Linq's place, and a reconciler that stands before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bootstrap.bench import Bench, bench_of
from tests.sandbox.running import RunningSandbox, closed_port, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from redis.asyncio import Redis

    from tests.support import Clock


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    """A sandbox with three lines, as strict about targets as Linq."""
    async with running_sandbox(allow_local=False) as running:
        yield running


@pytest.fixture
def bench(sandbox: RunningSandbox, redis: Redis, clock: Clock) -> Bench:
    """A reconciler for the sandbox's lines, and an empty keyring."""
    return bench_of(sandbox, redis, clock)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that refuses connections."""
    with closed_port() as port:
        yield port
