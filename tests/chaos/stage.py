"""Processes of a run: several of each kind of the relay's, from its command line, each with its own clock.

A process that ends by itself is recorded as a death and restarted, as a supervisor would; a graceful end must have the
exit code 0. Every process is ended by its id when the stage is left, however that happens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.parts import open_keyring
from relay.process.subprocesses import death_with_parent, python, reserved_port
from tests.chaos.events import LINES, secret_of
from tests.chaos.teams import rules

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from tests.chaos.sentinel_redis import SentinelRedis
    from tests.chaos.spec import Spec
    from tests.redis_server import RedisServer

STOP_TIMEOUT = 40.0
"""Seconds that a process of ours has to end after SIGTERM."""
_READY_TIMEOUT = 60.0
_STARTING = 10.0  # seconds, on a busy machine
_ROOT = Path(__file__).resolve().parents[2]
_CLOCKS = Path(__file__).parent / "clock"


@dataclass(slots=True)
class ServiceProcess:
    """A process under test."""

    kind: str
    """`ingress` or `worker`."""
    name: str
    process: asyncio.subprocess.Process
    clock: Path
    admin_port: int
    reservation: ExitStack
    """Keeps the admin port free for the process until it has ended."""
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Acquired by the fault that affects it."""
    started_at: float = field(default_factory=time.monotonic)
    is_expected_to_end: bool = False
    """True if the run ends it."""

    def set_clock(self, seconds: float) -> None:
        """Shift its clock by so many seconds."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Kill it."""
        self.is_expected_to_end = True
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Stop it gracefully and return its exit code, or that of the kill if it takes too long.

        A process that is still starting has no handler yet and ends by the signal, which counts as 0.
        """
        is_starting = time.monotonic() - self.started_at < _STARTING
        self.is_expected_to_end = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                code = await self.process.wait()
                return 0 if is_starting and code == -signal.SIGTERM else code
        self.signal(signal.SIGKILL)
        return await self.process.wait()


class Stage:
    """Running processes, and the failures among them."""

    def __init__(self, spec: Spec, redis: RedisServer | SentinelRedis, log_level: str) -> None:
        self.spec = spec
        self.redis = redis
        self.deaths: list[str] = []
        """Processes that ended by themselves, or with another code than 0."""
        self._services: list[ServiceProcess] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._started = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields},
            **redis.environment,
            "RELAY_LISTEN": f"127.0.0.1:{spec.ingress_port}",
            "RELAY_CONFIG": str(spec.home / "relay.toml"),
            "RELAY_SECRET_KEY": new_key(),
            "RELAY_LOG_FORMAT": "json",
            "RELAY_LOG_LEVEL": log_level,
        }

    async def prepare(self) -> None:
        """Store what bootstrap would store, and write relay.toml."""
        settings = Settings(relay_secret_key=self._environment["RELAY_SECRET_KEY"], _env_file=None)  # type: ignore[arg-type, call-arg]  # validated, and how pydantic-settings takes it
        async with self.redis.client() as redis:
            keyring = open_keyring(settings, redis)
            for line in LINES:
                await keyring.store(line, 1, f"linq-{line}", secret_of(line), 0)
        (self.spec.home / "relay.toml").write_text(rules(self.spec.teams_port))

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

    async def start(self, kind: str) -> ServiceProcess:
        """Start an `ingress` or a `worker`; wait until an ingress is ready."""
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
        process = await self._spawn(name, python("relay", *arguments), environment)
        service = ServiceProcess(kind, name, process, clock, admin_port, reservation)
        self._services.append(service)
        watcher = asyncio.create_task(self._watch(service))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if kind == "ingress":
            await self._wait_until_ready(service)
        return service

    async def replace(self, service: ServiceProcess) -> None:
        """Start a successor of a killed process."""
        await self.start(service.kind)

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
async def open_stage(spec: Spec, redis: RedisServer | SentinelRedis, log_level: str) -> AsyncIterator[Stage]:
    """Open a stage on a running Redis, without processes."""
    stage = Stage(spec, redis, log_level)
    try:
        await stage.prepare()
        yield stage
    finally:
        await stage.kill_all()
