"""A relay that grows under load: its processes, Linq's webhooks, a team that pulls, and what each of them got."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.consumer import consume
from relay.parts import open_keyring
from relay.process.tasks import in_background
from tests.building import OTHER_SECRET, SECRET, body_of, signed
from tests.journeys.conftest import LINES
from tests.support import eventually

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping

    from tests.journeys.conftest import Service
    from tests.workers.conftest import Received

CHATS = [f"dialog-{number}" for number in range(12)]
SECRETS = dict(zip(LINES, (SECRET, OTHER_SECRET), strict=False))
WORKERS = (2, 3)
"""The places of the workers in the fleet."""
AHEAD = 8
"""Events of a chat that are sent before its first one is delivered: a machine that is busy falls no further behind."""
REFUSED = 0.03
"""The share of events whose first attempt fails; too few to open the circuit breaker."""
PAUSE = 0.3  # seconds between two events of a chat


@dataclass(slots=True)
class Fleet:
    """Two ingresses and two workers, each replaced by one with another number of shards in its turn."""

    service: Service
    ports: tuple[int, int]
    shards: int
    processes: list[Process] = field(default_factory=list)

    async def start(self, number: int, dies: str = "") -> Process:
        """Start the process with this place in the fleet, and wait until it works; a worker may be one that `dies`."""
        is_ingress = number < len(self.ports)
        event = "ingress.listening" if is_ingress else "worker.started"
        before = self.service.logged(event)
        environment = self.service.environment
        environment["RELAY_SHARDS"] = str(self.shards)
        if is_ingress:
            environment["RELAY_LISTEN"] = f"127.0.0.1:{self.ports[number]}"
        if dies:
            process = await self.service.start(dies, "workers", module="tests.journeys.dying")
        else:
            process = await (self.service.start("ingress") if is_ingress else self.service.start(module="workers"))
        await eventually(lambda: self.service.logged(event) > before)
        return process

    async def start_all(self) -> None:
        self.processes = [await self.start(number) for number in range(4)]

    async def replace_all(self, shards: int) -> None:
        """Restart one process after the other."""
        self.shards = shards
        for number, process in enumerate(self.processes):
            process.terminate()
            await process.wait()
            self.processes[number] = await self.start(number)

    async def kill_an_ingress(self) -> None:
        """Kill an ingress, and start another one."""
        await self._kill(0)
        self.processes[0] = await self.start(0)

    async def kill_the_workers(self) -> None:
        """Kill both workers."""
        for number in WORKERS:
            await self._kill(number)

    async def replace_the_workers(self, step: str) -> None:
        """Leave all to a worker that is killed at a step of the growth, and then to two others."""
        dying = await self.start(WORKERS[0], step)
        assert await dying.wait() == -signal.SIGKILL
        for number in WORKERS:
            self.processes[number] = await self.start(number)

    async def _kill(self, number: int) -> None:
        self.processes[number].kill()
        await self.processes[number].wait()


@dataclass(slots=True)
class Traffic:
    """Linq: it sends each event over the URLs of two lines until both have accepted it, and some again later."""

    ports: tuple[int, int]
    http: aiohttp.ClientSession
    delivered: Mapping[str, list[str]]
    """Events that "bot" has got, by chat."""
    sent: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    is_over: bool = False
    refused: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """The number of events that were sent."""
        return sum(map(len, self.sent.values()))

    async def run(self) -> None:
        await asyncio.gather(*map(self._chat, CHATS))

    async def _chat(self, chat: str) -> None:
        dice = random.Random(chat)
        while not self.is_over:
            if len(self.sent[chat]) - len(set(self.delivered[chat])) >= AHEAD:
                await asyncio.sleep(PAUSE)
                continue
            event_id = f"{chat}-{len(self.sent[chat])}"
            self.sent[chat].append(event_id)
            await self._send(chat, event_id, dice)
            if dice.random() < 0.2:
                await self._send(chat, dice.choice(self.sent[chat]), dice)
            await asyncio.sleep(PAUSE * dice.uniform(0.5, 1.5))

    async def _send(self, chat: str, event_id: str, dice: random.Random) -> None:
        body = body_of(event_id=event_id, chat_id=chat, owner_handle=LINES[0])
        for line, secret in SECRETS.items():
            while True:
                port = dice.choice(self.ports)
                url = f"http://127.0.0.1:{port}/webhooks/linq?line={line.removeprefix('+')}&gen=1"
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with self.http.post(url, data=body, headers=signed(body, time.time(), secret)) as answer:
                        if answer.status == 200:
                            break
                        self.refused[answer.status] += 1
                await asyncio.sleep(0.05)


@dataclass(slots=True)
class Deliveries:
    """What the subscribers have taken."""

    by_path: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_chat: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What "bot" has taken."""
    refused: set[str] = field(default_factory=set)
    """Events of which "bot" has refused the first attempt."""

    async def answer(self, received: Received) -> web.Response:
        """Answer a delivery."""
        event_id = received.headers["webhook-id"]
        is_refused = random.Random(event_id).random() < REFUSED
        if received.path == "/bot" and is_refused and event_id not in self.refused:
            self.refused.add(event_id)
            return web.Response(status=500)
        self.by_path[received.path].append(event_id)
        if received.path == "/bot":
            self.by_chat[event_id.rpartition("-")[0]].append(event_id)
        return web.Response(status=204)


async def store_secrets(service: Service) -> None:
    """Let the relay know the secrets of the lines."""
    key = SecretStr(service.environment["RELAY_SECRET_KEY"])
    async with service.redis.client() as redis:
        keyring = open_keyring(Settings(relay_secret_key=key), redis)
        for line, secret in SECRETS.items():
            await keyring.store(line, 1, f"linq-{line}", secret, 0)


@asynccontextmanager
async def pulling(url: str, topic: str) -> AsyncIterator[list[str]]:
    """Read a topic while the context is open; yield the ids of what was handled."""
    pulled: list[str] = []

    async def read() -> None:
        async with consume(url, topic=topic, group="billing") as events:
            async for event in events:
                pulled.append(event.id)  # noqa: PERF401  read while it grows

    async with in_background(read()):
        yield pulled
