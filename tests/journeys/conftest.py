"""The service as its users run it: real processes, a Redis that can be killed, a sandbox and a sink on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.bootstrap.factory import open_reconciler
from relay.config.file import read_config
from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.sandbox.app import Sandbox, open_sandbox, sandbox_app
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import open_shards
from tests.building import OTHER_SECRET, SECRET
from tests.clusters import Cluster
from tests.forked.process import start_python
from tests.on_cluster import SharedCluster, running_redis
from tests.redis_server import RedisServer
from tests.support import eventually, reserve_port
from tests.workers.conftest import Sink, open_sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.process.embedded_redis import Embedded
    from relay.store.driver.client import Redis
    from tests.on_cluster import Store

LINES = ("+16465550123", "+16465550124", "+16465550125")
API_KEY = "journey-key"
QUICK_TAKEOVER = '{"lease": 1.0, "lease_renew": 0.2, "arq_lock": 1.5, "lease_retry": 0.2}'
"""Timings of the workers, about a fifth of production's: no test waits long for the lease of a killed worker."""
QUICK = (
    f'{QUICK_TAKEOVER[:-1]}, "router_block": 0.1, "ready_poll": 0.1, "config_poll": 0.1, "bootstrap_poll": 0.1, '
    '"drain_idle": 0.1}'
)
"""The same, and loops that soon see that they must stop, or that a file has changed."""
QUICK_ON_CLUSTER = QUICK.replace(
    QUICK_TAKEOVER[:-1], '{"lease": 3.0, "lease_renew": 0.6, "arq_lock": 4.5, "lease_retry": 0.2'
)
"""The same with longer leases: six servers, and two queues for each shard, share the processors of a test machine."""


@dataclass(slots=True)
class Service:
    """The service's environment and processes, with Redis, sandbox, sink and rules around it."""

    environment: dict[str, str]
    redis: Store
    sandbox: Sandbox
    sink: Sink
    rules: Path
    log: Path
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.environment['RELAY_LISTEN']}"

    async def run(self, *arguments: str, code: int | None = 0) -> str:
        """Run a `relay` command and return its output; its exit code must be `code`."""
        process = await start_python(
            "relay",
            *arguments,
            environment=self.environment,
            directory=self.log.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert code is None or process.returncode == code, f"{output.decode()}\n{errors.decode()}"
        return output.decode()

    async def start(self, *arguments: str, module: str = "relay") -> asyncio.subprocess.Process:
        """Start a process that keeps running: a `relay` command, or another module."""
        with self.log.open("ab") as log:
            process = await start_python(
                module,
                *arguments,
                environment=self.environment,
                directory=self.log.parent,
                stdout=log,
                stderr=log,
                new_session=True,
            )
        self.processes.append(process)
        return process

    async def bootstrap(self) -> None:
        """Register the lines, as `relay bootstrap apply` does but in this process, which is quicker."""
        given = {name.lower(): value for name, value in self.environment.items()}
        settings = Settings.model_validate({name: given[name] for name in Settings.model_fields if name in given})
        async with (
            self.redis.client() as redis,
            open_reconciler(settings, redis, read_config(self.rules)) as reconciler,
        ):
            assert not [done.error for done in await reconciler.apply(lambda _: None) if done.error]

    async def is_ready(self) -> bool:
        async with aiohttp.ClientSession() as http:
            with suppress(aiohttp.ClientError):
                async with http.get(f"{self.url}/ready") as response:
                    return response.status == 200
        return False

    async def end(self) -> None:
        """End every process that still runs, and its children."""
        for process in self.processes:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.terminate()
        for process in self.processes:
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    def logged(self, event: str) -> int:
        """Return the number of log lines of `event`."""
        return self.log.read_text().count(f'"event":"{event}"') if self.log.exists() else 0


RULES = """
[linq]
account = false  # its subscription would get events about itself, at times of its own

[[topics]]
name = "messages"
events = ["message.*"]
lines = ["+16465550123", "+16465550124"]

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "messages"
url = "{sink}/bot"
secret = "env:BOT_SECRET"
retry = ["100ms", "200ms", "400ms", "800ms"]

[[subscriptions]]
name = "crm"
topic = "everything"
url = "{sink}/crm"
secret = "env:CRM_SECRET"
retry = ["100ms", "200ms", "400ms", "800ms"]
"""


@asynccontextmanager
async def open_service(directory: Path, store: Store | None = None) -> AsyncIterator[Service]:
    """Start sandbox and sink, and a Redis unless a store is given; the test starts the service's own processes."""
    async with AsyncExitStack() as stack:
        redis = store
        if redis is None:
            redis = await stack.enter_async_context(running_redis(directory / "redis"))
        sink = await stack.enter_async_context(open_sink())
        sandbox = await stack.enter_async_context(open_sandbox(LINES, speed=25))
        app = sandbox_app(sandbox, API_KEY, allow_local=True)
        linq = await stack.enter_async_context(listening(app, Listen(host="127.0.0.1", port=0)))
        ingress = reserve_port()
        rules = directory / "relay.toml"
        rules.write_text(RULES.format(sink=sink.url))
        service = Service(
            environment={
                **os.environ,
                **redis.environment,
                **({"RELAY_SHARDS": str(redis.shards)} if redis.shards > 1 else {}),
                "RELAY_PUBLIC_URL": f"http://127.0.0.1:{ingress}",
                "RELAY_LISTEN": f"127.0.0.1:{ingress}",
                "RELAY_ADMIN_LISTEN": "127.0.0.1:0",
                "RELAY_CONFIG": str(rules),
                "RELAY_DATA_DIR": str(directory / "data"),
                "RELAY_SECRET_KEY": new_key(),
                "RELAY_LOG_FORMAT": "json",
                "RELAY_TEST_TIMINGS": QUICK if isinstance(redis, RedisServer) else QUICK_ON_CLUSTER,
                "LINQ_API_V3_API_KEY": API_KEY,
                "LINQ_API_V3_BASE_URL": f"http://127.0.0.1:{linq}/api/partner",
                "LINQ_V2_WEBHOOK_SECRET": "relay-v2-secret",
                "BOT_SECRET": SECRET.text,
                "CRM_SECRET": OTHER_SECRET.text,
            },
            redis=redis,
            sandbox=sandbox,
            sink=sink,
            rules=rules,
            log=directory / "relay.log",
        )
        try:
            yield service
        finally:
            await service.end()


@pytest.fixture
async def service(tmp_path: Path, store: Store) -> AsyncIterator[Service]:
    async with open_service(tmp_path, store) as service:
        yield service


@pytest.fixture
async def running(service: Service) -> Service:
    """Register the lines, and start one ingress and one worker."""
    await service.bootstrap()
    await service.start("ingress")
    await service.start(module="workers")
    await eventually(service.is_ready)
    await eventually(lambda: service.logged("worker.started"))
    return service


@pytest.fixture(autouse=True)
def shards_of_commands(clean_environment: None, shard_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give commands and parts in this process the number of shards of the journeys."""
    del clean_environment  # it would remove the variable
    if shard_count > 1:
        monkeypatch.setenv("RELAY_SHARDS", str(shard_count))


@pytest.fixture
def redis_source(request: pytest.FixtureRequest, cluster_if_chosen: Cluster | None) -> Embedded | Cluster:
    """Return the servers that journeys share: the Redis of all tests, or the cluster."""
    if cluster_if_chosen is not None:
        return cluster_if_chosen
    embedded: Embedded = request.getfixturevalue("redis_server")
    return embedded


@pytest.fixture
async def redis(redis_source: Embedded | Cluster, tmp_path: Path, shard_count: int) -> AsyncIterator[Redis]:
    """Return a client of the first shard of an empty store."""
    if isinstance(redis_source, Cluster):
        await SharedCluster(tmp_path, redis_source, shard_count).empty()
    async with open_shards(redis_source.url, WORKER_TIMEOUT, count=shard_count) as shards:
        if not isinstance(redis_source, Cluster):
            await shards.home.flushall()
        yield shards.home


@pytest.fixture
def redis_url(redis_source: Embedded | Cluster, redis: Redis) -> str:
    """Return the URL of the empty store."""
    del redis  # it only has to have been emptied
    return redis_source.url
