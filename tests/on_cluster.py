"""Journeys on another store than a plain Redis with one shard: `pytest --cluster --shards 4 tests/journeys`.

    --cluster     a Redis Cluster of three primaries and three replicas that the session starts; else a plain Redis
    --shards N    the number of shards, RELAY_SHARDS; 1 by default

A journey takes its Redis from the fixture `store`, which is of either kind. The cluster is started once; for each test
it is emptied, and what the last one did to its servers, slots and users is undone.

A test that cannot run there says why, and the summary names it: `@pytest.mark.plain_redis("why")` for one that needs a
single server, `one_shard("why")`, or `own_cluster` if it has a cluster with shards in every run.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from relay.store.sharding.shards import open_shards
from tests.chaos.cluster_redis import ClusterRedis
from tests.clusters import clusters
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from relay.store.driver.client import Redis
    from tests.clusters import Cluster


_TIMEOUT = 30.0  # seconds for an answer
NOT_THERE = "not on a cluster: "
"""Beginning of the reason for which a test is skipped there."""
_OWN_CLUSTER = "it has a cluster with shards of its own in every run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose the store of the journeys."""
    group = parser.getgroup("linq-relay")
    group.addoption("--cluster", action="store_true", help="run the journeys on a Redis Cluster that is started")
    group.addoption("--shards", type=int, default=1, metavar="N", help="run the journeys with so many shards")


def options_of(config: pytest.Config) -> list[str]:
    """Return the options with which another pytest chooses the same store."""
    return [*(["--cluster"] if config.getoption("cluster") else []), f"--shards={config.getoption('shards')}"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that cannot run on the chosen store."""
    on_cluster, on_shards = item.config.getoption("cluster"), item.config.getoption("shards") > 1
    marks = {"plain_redis": on_cluster or on_shards, "own_cluster": on_cluster or on_shards, "one_shard": on_shards}
    for name, is_skipped in marks.items():
        if is_skipped and (mark := item.get_closest_marker(name)) is not None:
            pytest.skip(NOT_THERE + (mark.args[0] if mark.args else _OWN_CLUSTER))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each reason why tests did not run on the cluster, with their number."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    found = Counter(reason.partition(NOT_THERE)[2].rstrip("')\"") for reason in reasons if NOT_THERE in reason)
    for reason, tests in found.items():
        terminalreporter.write_line(f"{NOT_THERE}{reason} ({tests} tests)")


class SharedCluster(ClusterRedis):
    """The cluster of the session, as the store of one test."""

    def __init__(self, directory: Path, cluster: Cluster, shards: int) -> None:
        super().__init__(directory, shards=shards)
        self._cluster = cluster

    async def empty(self) -> None:
        """Undo what the last test has done: every server runs, each shard is on a primary, without keys and users."""
        cluster = self.cluster
        for port, process in cluster.processes.items():
            if process.poll() is None:
                cluster.signal(port, signal.SIGCONT)
            else:
                cluster.start(port)
        await self.wait_until_healthy()
        for port in cluster.ports:
            await self._empty_server(port)
        await self._spread()
        self._turn = 0
        await self.wait_until_healthy()

    @property
    def ports(self) -> list[int]:
        """The ports of all servers."""
        return self.cluster.ports

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Open a client of the first shard, which knows the others."""
        async with open_shards(self.url, _TIMEOUT, count=self.shards) as shards:
            yield shards.home

    async def _empty_server(self, port: int) -> None:
        cluster = self.cluster
        if "master" in (await cluster.nodes(port))[port][2]:
            await cluster.command(port, "FLUSHALL")
        await cluster.command(port, "SCRIPT", "FLUSH")
        await cluster.command(port, "ACL", "LOG", "RESET")
        users = [user.decode() for user in await cluster.command(port, "ACL", "USERS")]
        if others := [user for user in users if user != "default"]:
            await cluster.command(port, "ACL", "DELUSER", *others)

    async def _spread(self) -> None:
        """Place the shards on the primaries of now, in turn."""
        rows = await self.cluster.nodes(self.cluster.ports[0])
        primaries = [port for port, row in rows.items() if "master" in row[2]]
        await self.cluster.place({slot: primaries[n % len(primaries)] for n, slot in enumerate(self.slots)})


Store = RedisServer | SharedCluster
"""The Redis of a journey, which it may kill, stop and start again."""


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start the cluster of this process: three primaries, each with a replica."""
    with asyncio.Runner() as runner:
        context = clusters(tmp_path_factory.mktemp("cluster") / "servers")
        yield runner.run(context.__aenter__())
        runner.run(context.__aexit__(None, None, None))


@pytest.fixture
def cluster_if_chosen(request: pytest.FixtureRequest) -> Cluster | None:
    """Return the cluster of the session if the journeys run there."""
    cluster: Cluster | None = None
    if request.config.getoption("cluster"):
        cluster = request.getfixturevalue("session_cluster")
    return cluster


@pytest.fixture
def shard_count(pytestconfig: pytest.Config) -> int:
    """Return the number of shards of the journeys."""
    shards: int = pytestconfig.getoption("shards")
    return shards


@pytest.fixture
async def store(tmp_path: Path, cluster_if_chosen: Cluster | None, shard_count: int) -> AsyncIterator[Store]:
    """Return the store of a journey: it runs, and is empty."""
    if cluster_if_chosen is not None:
        cluster = SharedCluster(tmp_path, cluster_if_chosen, shard_count)
        await cluster.empty()
        yield cluster
        return
    async with running_redis(tmp_path / "redis", shard_count) as server:
        yield server


@asynccontextmanager
async def running_redis(directory: Path, shards: int = 1) -> AsyncIterator[RedisServer]:
    """Run a plain Redis, which may be killed and started, as a store."""
    server = RedisServer(directory, fsync="everysec", shards=shards)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
