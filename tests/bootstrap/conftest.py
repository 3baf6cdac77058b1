"""Fixtures: a sandbox in place of Linq, and a reconciler for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.linq.api.v2 import TOKEN_HEADER, LinqV2Api
from tests.bootstrap.bench import Bench, bench_of
from tests.bootstrap.v2_bench import reconciler_of
from tests.sandbox.running import API_KEY, RunningSandbox, closed_port, running_sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from relay.bootstrap.reconciling.v2 import V2Reconciler
    from relay.store.driver.client import Redis
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


@pytest.fixture
async def api(sandbox: RunningSandbox) -> AsyncIterator[LinqV2Api]:
    async with aiohttp.ClientSession(headers={TOKEN_HEADER: API_KEY}) as session:
        yield LinqV2Api(session, f"{sandbox.url}/v2", pauses=(0, 0))


@pytest.fixture
def reconciler(api: LinqV2Api, redis: Redis) -> V2Reconciler:
    return reconciler_of(api, redis)
