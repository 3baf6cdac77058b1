"""A rolling restart under load: a sender that never retries sees no failure, and every event is delivered."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import aiohttp
import pytest

from relay.process.tasks import in_background
from relay.store.fleet.processes import processes
from tests.building import body_of, signed
from tests.journeys.conftest import LINES, QUICK, RULES
from tests.support import eventually, hang_up, raw_server, reserve_port

if TYPE_CHECKING:
    from tests.journeys.conftest import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RATE = 150  # events a second
CONNECTIONS = 20
POLL = 0.05  # seconds from one look of the balancer at /ready to the next
DELAY = "2s"
"""Time that the balancer has to see that a backend stops: many times its poll, also on a busy machine."""


class Balancer:
    """A load balancer: gives each new connection to the next backend whose `/ready` is 200."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.ready: set[int] = set()
        self._next = count()

    async def follow_health(self) -> None:
        """Ask the backends again and again."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            while True:
                for port in self.ports:
                    is_ready = False
                    with suppress(aiohttp.ClientError):
                        async with http.get(f"http://127.0.0.1:{port}/ready") as response:
                            is_ready = response.status == 200
                    (self.ready.add if is_ready else self.ready.discard)(port)
                await asyncio.sleep(POLL)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes between a connection and its backend until either side closes."""
        backends = sorted(self.ready)
        theirs = await asyncio.open_connection("127.0.0.1", backends[next(self._next) % len(backends)])
        carrying = {asyncio.create_task(carry(reader, theirs[1])), asyncio.create_task(carry(theirs[0], writer))}
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in carrying:
                task.cancel()
            await hang_up(theirs[1])


async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


class Sender:
    """A sender that posts each event once, at a steady rate."""

    def __init__(self, service: Service, port: int) -> None:
        self._secret = next(iter(service.sandbox.state.subscriptions.values())).secret
        self._url = f"http://127.0.0.1:{port}/webhooks/linq?line={LINES[0][1:]}"
        self.accepted: set[str] = set()
        self.failures: list[object] = []
        self._posts: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until cancelled; then wait for the last responses."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as http:
            began = time.monotonic()
            try:
                for number in count():
                    await asyncio.sleep(max(0, began + number / RATE - time.monotonic()))
                    task = asyncio.create_task(self._post(http, f"rolling-{number}"))
                    self._posts.add(task)
                    task.add_done_callback(self._posts.discard)
            finally:
                await asyncio.gather(*self._posts)

    async def _post(self, http: aiohttp.ClientSession, event_id: str) -> None:
        body = body_of(event_id=event_id)
        try:
            async with http.post(self._url, data=body, headers=signed(body, time.time(), self._secret)) as response:
                if response.status == 200:
                    self.accepted.add(event_id)
                else:
                    self.failures.append((response.status, await response.text()))
        except (aiohttp.ClientError, OSError) as error:
            self.failures.append(error)


async def start_ingress(service: Service, balancer: Balancer) -> asyncio.subprocess.Process:
    """Start an ingress behind the balancer; return when it gets connections."""
    port = reserve_port()
    service.environment["RELAY_LISTEN"] = f"127.0.0.1:{port}"
    process = await service.start("ingress")
    balancer.ports.append(port)
    await eventually(lambda: port in balancer.ready)
    return process


async def start_worker(service: Service) -> asyncio.subprocess.Process:
    """Start a worker; return when it takes work."""
    process = await service.start("worker")
    async with service.redis.client() as redis:

        async def works() -> bool:
            reports = await processes(redis, time.time() * 1000)
            return any((each.pid, each.phase) == (process.pid, "ok") for each in reports)

        await eventually(works)
    return process


async def start_pair(service: Service, balancer: Balancer) -> tuple[asyncio.subprocess.Process, ...]:
    return tuple(await asyncio.gather(start_ingress(service, balancer), start_worker(service)))


async def test_rolling_restart_under_load_fails_no_request(service: Service) -> None:
    service.environment |= {"RELAY_SHUTDOWN_DELAY": DELAY, "RELAY_LOG_LEVEL": "warning"}
    service.environment["RELAY_TEST_TIMINGS"] = QUICK.replace(', "drain_idle": 0.1', "")
    service.rules.write_text(RULES.partition('[[subscriptions]]\nname = "bot"')[0] + crm_of(service))
    await service.bootstrap()
    balancer = Balancer()
    async with raw_server(balancer.connect) as port, in_background(balancer.follow_health()):
        old = [await start_pair(service, balancer) for _ in range(2)]
        sender = Sender(service, port)
        async with in_background(sender.run()):
            await eventually(lambda: len(sender.accepted) > RATE // 3)
            for pair in old:
                await start_pair(service, balancer)
                for process in pair:
                    process.terminate()
                assert [await process.wait() for process in pair] == [0, 0]
            after = len(sender.accepted)
            await eventually(lambda: len(sender.accepted) > after + RATE // 3)
    assert sender.failures == []
    await eventually(lambda: len(set(service.sink.ids())) >= len(sender.accepted))
    assert set(service.sink.ids()) == sender.accepted


def crm_of(service: Service) -> str:
    return RULES[RULES.index('[[subscriptions]]\nname = "crm"') :].format(sink=service.sink.url)
