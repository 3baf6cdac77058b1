"""The processes of a run: the relay's own, several of each, through its command line, each with a clock of its own.

What ends without being told to is noted as a death and started again, as a supervisor would; a clean end has to have
the exit code 0. Everything is ended by its process id when the stage is left, however that happens.
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
_STARTING = 10.0  # seconds, on a machine that has much else to do
_ROOT = Path(__file__).resolve().parents[2]
_CLOCKS = Path(__file__).parent / "clock"


@dataclass(slots=True)
class Running:
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
    """Held by the fault that is at work on it."""
    started_at: float = field(default_factory=time.monotonic)
    is_ours_to_end: bool = False
    """Whether its end is our doing."""

    def set_clock(self, seconds: float) -> None:
        """Puts its clock off by so many seconds."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """Ends it the hard way."""
        self.is_ours_to_end = True
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """Ends it in order; its exit code, or that of the kill if it took too long.

        One that is only starting has no handler yet and ends by the signal, which is as well.
        """
        is_starting = time.monotonic() - self.started_at < _STARTING
        self.is_ours_to_end = True
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT):
                code = await self.process.wait()
                return 0 if is_starting and code == -signal.SIGTERM else code
        self.signal(signal.SIGKILL)
        return await self.process.wait()


class Stage:
    """What runs, and what has gone wrong with it."""

    def __init__(self, spec: Spec, redis: RedisServer | SentinelRedis, log_level: str) -> None:
        self.spec = spec
        self.redis = redis
        self.deaths: list[str] = []
        """Processes that ended by themselves, or not as they were told to."""
        self._running: list[Running] = []
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
        """Stores what bootstrap would have stored, and writes relay.toml."""
        settings = Settings(relay_secret_key=self._environment["RELAY_SECRET_KEY"], _env_file=None)  # type: ignore[arg-type, call-arg]  # validated, and how pydantic-settings takes it
        async with self.redis.client() as redis:
            keyring = open_keyring(settings, redis)
            for line in LINES:
                await keyring.store(line, 1, f"linq-{line}", secret_of(line), 0)
        (self.spec.home / "relay.toml").write_text(rules(self.spec.teams_port))

    def all_of(self, kind: str) -> list[Running]:
        """The processes of a kind that are there."""
        return [one for one in self._running if one.kind == kind]

    @asynccontextmanager
    async def one_of(self, kind: str, dice: random.Random) -> AsyncIterator[Running]:
        """One process of a kind that no other fault is at work on, for as long as the context is open."""
        while not (free := [one for one in self.all_of(kind) if not one.in_use.locked()]):
            await asyncio.sleep(0.1)
        one = dice.choice(free)
        async with one.in_use:
            yield one

    async def start(self, kind: str) -> Running:
        """Starts an `ingress` or a `worker`, and waits until an ingress is ready."""
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
        one = Running(kind, name, process, clock, admin_port, reservation)
        self._running.append(one)
        watcher = asyncio.create_task(self._watch(one))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if kind == "ingress":
            await self._wait_until_ready(one)
        return one

    async def replace(self, one: Running) -> None:
        """Starts a successor of a process that was killed."""
        await self.start(one.kind)

    async def stop(self, one: Running) -> None:
        """Ends a process in order; anything but 0 is noted."""
        if (code := await one.stop()) != 0:
            self.deaths.append(f"{one.name} ended with {code} when it was told to stop")

    async def helper(self, module: str) -> asyncio.subprocess.Process:
        """Starts a process of the suite itself."""
        command = [sys.executable, "-m", module, str(self.spec.home / "spec.json")]
        return await self._spawn(module.rpartition(".")[2], command, self._environment, _ROOT)

    async def close(self) -> None:
        """Ends what is there, in order."""
        await asyncio.gather(*map(self.stop, list(self._running)))

    async def abandon(self) -> None:
        """Ends what is still there, the hard way."""
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await asyncio.gather(*(one.kill() for one in self._running))

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

    async def _watch(self, one: Running) -> None:
        with one.reservation:
            code = await one.process.wait()
        self._running.remove(one)
        if not one.is_ours_to_end:
            self.deaths.append(f"{one.name} ended by itself with {code}")
            await asyncio.sleep(1)
            await self.start(one.kind)

    async def _wait_until_ready(self, one: Running) -> None:
        """Until it could accept an event, which waits for Redis as well; or a while, since Redis may be away."""
        async with aiohttp.ClientSession() as http:
            with suppress(TimeoutError):
                async with asyncio.timeout(_READY_TIMEOUT):
                    while one.process.returncode is None:
                        with suppress(aiohttp.ClientError):
                            async with http.get(f"http://127.0.0.1:{one.admin_port}/ready") as answer:
                                if answer.status == 200:
                                    return
                        await asyncio.sleep(0.05)


@asynccontextmanager
async def open_stage(spec: Spec, redis: RedisServer | SentinelRedis, log_level: str) -> AsyncIterator[Stage]:
    """A stage on a Redis that runs, and nothing else yet."""
    stage = Stage(spec, redis, log_level)
    try:
        await stage.prepare()
        yield stage
    finally:
        await stage.abandon()
