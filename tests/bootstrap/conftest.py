"""Fixtures: a sandbox in place of Linq, and a reconciler for it."""

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
    """Run a sandbox with three lines that is as strict about targets as Linq."""
    async with running_sandbox(allow_local=False) as running:
        yield running


@pytest.fixture
def bench(sandbox: RunningSandbox, redis: Redis, clock: Clock) -> Bench:
    """Return a reconciler for the sandbox's lines, with an empty keyring."""
    return bench_of(sandbox, redis, clock)


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """Return a port that refuses connections."""
    with closed_port() as port:
        yield port
