"""Processes of a run: several of each kind of the relay's, from its command line, each with its own clock.

A process that ends by itself is recorded as a death and restarted, as a supervisor would; a graceful end must have the
exit code 0. Every process is ended by its id when the stage is left, however that happens.

The stage also has what surrounds them: relay.toml, the name server, and the switches of the subscribers.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.parts import open_keyring
from relay.process.subprocesses import death_with_parent, python, reserved_port
from relay.store.driver.client import Redis
from relay.store.sharding.shards import open_shards
from tests.chaos.events import LINES, secret_of
from tests.chaos.records import Watch
from tests.chaos.service_process import ServiceProcess
from tests.chaos.switches import switch
from tests.chaos.teams import FAR, hosts_of, rules
from tests.dns_server import dns_server

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from tests.chaos.cluster_redis import ClusterRedis
    from tests.chaos.sentinel_redis import SentinelRedis
    from tests.chaos.spec import Spec
    from tests.dns_server import DnsServer
    from tests.redis_server import RedisServer

    AnyServers = RedisServer | SentinelRedis | ClusterRedis

_READY_TIMEOUT = 60.0
_REDIS_TIMEOUT = 30.0  # seconds
_ROOT = Path(__file__).resolve().parents[2]
_CLOCKS = Path(__file__).parent / "clock"


class Stage:
    """Running processes, and the failures among them."""

    def __init__(self, spec: Spec, redis: AnyServers, dns: DnsServer, settings: Mapping[str, str]) -> None:
        self.spec = spec
        self.redis = redis
        self._dns = dns
        self._renamed = 0
        self._switched: Counter[str] = Counter()
        self.watches: list[Watch] = []
        self.evidence: list[str] = []
        """Findings of the faults themselves: what they must not stop and did."""
        self.deaths: list[str] = []
        """Processes that ended by themselves, or with another code than 0."""
        self._services: list[ServiceProcess] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._started = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
            **self.redis_environment,
            "RELAY_LISTEN": f"127.0.0.1:{spec.ingress_port}",
            "RELAY_CONFIG": str(spec.home / "relay.toml"),
            "RELAY_SECRET_KEY": new_key(),
            "RELAY_LOG_FORMAT": "json",
            **settings,
            "CHAOS_DNS": f"127.0.0.1:{dns.port}",
        }

    @property
    def redis_environment(self) -> dict[str, str]:
        """Environment variables that say where the relay's data are."""
        shards = {"RELAY_SHARDS": str(self.spec.shards)} if self.spec.shards > 1 else {}
        return {**self.redis.environment, **shards}

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Open a client of the first shard, which knows the others."""
        async with open_shards(self.redis.url, _REDIS_TIMEOUT, count=self.spec.shards) as shards:
            yield shards.home

    @asynccontextmanager
    async def server(self, port: int) -> AsyncIterator[Redis]:
        """Open a client of a server, whichever role it has."""
        async with Redis(port=port, socket_timeout=_REDIS_TIMEOUT) as redis:
            yield redis

    @asynccontextmanager
    async def servers(self) -> AsyncIterator[list[Redis]]:
        """Open clients of all servers that are primaries of shards now."""
        async with AsyncExitStack() as stack:
            ports = sorted(set(await self.redis.primaries()))
            yield [await stack.enter_async_context(self.server(port)) for port in ports]

    async def prepare(self) -> None:
        """Store what bootstrap would store, and write relay.toml."""
        settings = Settings.model_validate({"relay_secret_key": self._environment["RELAY_SECRET_KEY"]})
        async with self.client() as redis:
            keyring = open_keyring(settings, redis)
            for line in LINES:
                await keyring.store(line, 1, f"linq-{line}", secret_of(line), 0)
        self._write_rules()

    def _write_rules(self) -> None:
        new = self.spec.home / "relay.toml.new"
        new.write_text(rules(self.spec.teams_port, hosts_of(self._renamed) if self.spec.has_address else {}))
        new.replace(self.spec.home / "relay.toml")

    @contextmanager
    def silent_hosts(self) -> Iterator[tuple[str, ...]]:
        """Give the far teams new hosts, about which the name server is silent while the context is open."""
        self._renamed += 1
        hosts = [host for team, host in hosts_of(self._renamed).items() if team in FAR]
        labels = {host.partition(".")[0] for host in hosts}
        self._dns.silent |= labels
        try:
            self._write_rules()
            yield tuple(hosts)
        finally:
            self._dns.silent -= labels

    @contextmanager
    def turned_on(self, name: str) -> Iterator[None]:
        """Turn a switch of the subscribers on, while any such context is open."""
        file = switch(self.spec.home, name)
        self._switched[name] += 1
        file.touch()
        try:
            yield
        finally:
            self._switched[name] -= 1
            if not self._switched[name]:
                file.unlink()

    @contextmanager
    def watched(self, kind: str) -> Iterator[None]:
        """Record the time of a fault that must not affect Linq and the healthy teams."""
        began = time.monotonic()
        yield
        self.watches.append(Watch(kind, began, time.monotonic()))

    @asynccontextmanager
    async def full(self, servers: Sequence[Redis]) -> AsyncIterator[None]:
        """Set `maxmemory` below what is in use, while the context is open."""
        try:
            for server in servers:
                await server.config_set("maxmemory", "1mb")
            yield
        finally:
            for server in servers:
                await server.config_set("maxmemory", "0")

    def processes(self, kind: str) -> list[ServiceProcess]:
        """Return the running processes of a kind."""
        return [service for service in self._services if service.kind == kind]

    @asynccontextmanager
    async def pick(self, kind: str, dice: random.Random) -> AsyncIterator[ServiceProcess]:
        """Lock a process of a kind that no other fault affects, while the context is open."""
        while not (free := [service for service in self.processes(kind) if not service.in_use.locked()]):
            await asyncio.sleep(0.1)
        service = dice.choice(free)
        async with service.in_use:
            yield service

    async def lock_all(self, kind: str, locks: AsyncExitStack) -> list[ServiceProcess]:
        """Lock every process of a kind, until `locks` is closed; those that another fault ended are left out."""
        for service in self.processes(kind):
            await locks.enter_async_context(service.in_use)
        return self.processes(kind)

    async def start(self, kind: str, descriptors: int | None = None) -> ServiceProcess:
        """Start an `ingress` or a `worker`, with so many descriptors; wait until an ingress is ready."""
        self._started += 1
        name = f"{kind}-{self._started}"
        reservation = ExitStack()
        admin_port = reservation.enter_context(reserved_port())
        clock = self.spec.home / f"{name}.clock"
        clock.write_bytes(bytes(8))
        environment = {
            **self._environment,
            "RELAY_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
            "CHAOS_CLOCK": str(clock),
            "PYTHONPATH": str(_CLOCKS),
        }
        arguments = ("ingress", "--share-port") if kind == "ingress" else ("worker",)
        command = python("relay", *arguments)
        if descriptors is not None:
            command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(descriptors), *command]
        process = await self._spawn(name, command, environment)
        service = ServiceProcess(kind, name, process, clock, admin_port, reservation)
        self._services.append(service)
        watcher = asyncio.create_task(self._watch(service))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if kind == "ingress":
            await self._wait_until_ready(service)
        return service

    async def stop(self, service: ServiceProcess) -> None:
        """Stop a process gracefully; record another exit code than 0."""
        if (code := await service.stop()) != 0:
            self.deaths.append(f"{service.name} ended with {code} after SIGTERM")

    async def helper(self, module: str) -> asyncio.subprocess.Process:
        """Start a process of the suite itself."""
        command = [sys.executable, "-m", module, str(self.spec.home / "spec.json")]
        return await self._spawn(module.rpartition(".")[2], command, self._environment, _ROOT)

    async def close(self) -> None:
        """Stop all processes gracefully."""
        await asyncio.gather(*map(self.stop, list(self._services)))

    async def kill_all(self) -> None:
        """Kill all remaining processes."""
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await asyncio.gather(*(service.kill() for service in self._services))

    async def _spawn(
        self, name: str, command: list[str], environment: dict[str, str], directory: Path | None = None
    ) -> asyncio.subprocess.Process:
        with (self.spec.home / f"{name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                cwd=directory or self.spec.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=death_with_parent(),
            )

    async def _watch(self, service: ServiceProcess) -> None:
        with service.reservation:
            code = await service.process.wait()
        self._services.remove(service)
        if not service.is_expected_to_end:
            self.deaths.append(f"{service.name} ended by itself with {code}")
            await asyncio.sleep(1)
            await self.start(service.kind)

    async def _wait_until_ready(self, service: ServiceProcess) -> None:
        """Wait until it could accept an event, for a bounded time, since Redis may be down."""
        async with aiohttp.ClientSession() as http:
            with suppress(TimeoutError):
                async with asyncio.timeout(_READY_TIMEOUT):
                    while service.process.returncode is None:
                        with suppress(aiohttp.ClientError):
                            async with http.get(f"http://127.0.0.1:{service.admin_port}/ready") as response:
                                if response.status == 200:
                                    return
                        await asyncio.sleep(0.05)


@asynccontextmanager
async def open_stage(spec: Spec, redis: AnyServers, settings: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Open a stage on a running Redis, without processes."""
    async with dns_server(spec.address) as dns:
        stage = Stage(spec, redis, dns, settings)
        try:
            await stage.prepare()
            yield stage
        finally:
            await stage.kill_all()
