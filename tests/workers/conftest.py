"""A worker's parts on a real Redis: rules in a file, and a sink in the place of subscribers."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.config.file import ConfigFile
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.process.timings import Timings
from relay.store import wakeups
from relay.store.driver.lease import acquire_lease
from relay.store.inbox.acceptor import Acceptor
from tests.building import OTHER_SECRET, SECRET
from workers.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis
    from relay.store.driver.lease import Lease


TIMINGS = Timings(router_block=0.05, ready_poll=0.05)
"""Timings of drains that check often whether they must stop, so that no test waits for that."""


@dataclass(frozen=True, slots=True)
class Received:
    """A POST that a sink received."""

    path: str
    body: bytes
    headers: dict[str, str]
    at: float
    """Monotonic seconds."""


@dataclass(slots=True)
class Sink:
    """An HTTP server that records requests and responds as a test decides."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], Awaitable[web.StreamResponse]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ids(self, path: str | None = None) -> list[str]:
        """Return the webhook ids it received, in order."""
        return [post.headers["webhook-id"] for post in self.received if path in {None, post.path}]

    async def receive(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, await request.read(), headers, time.monotonic())
        self.received.append(received)
        return await self.answer(received) if self.answer else web.Response(status=204)


@asynccontextmanager
async def open_sink() -> AsyncIterator[Sink]:
    """Open a sink that listens on a free port."""
    sink = Sink()
    app = web.Application(client_max_size=2**22)
    app.router.add_post("/{tail:.*}", sink.receive)
    async with listening(app, Listen(host="127.0.0.1", port=0)) as sink.port:
        yield sink


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with open_sink() as sink:
        yield sink


def rules_for(sink: Sink, *, retry: str = '["50ms", "50ms"]', bot: str = "") -> str:
    """Return rules with two topics and a subscription each, both at `sink`; `bot` are further keys of the first."""
    return f"""
[[topics]]
name = "messages"
events = ["message.*"]

[[topics]]
name = "everything"
events = ["*"]

[[subscriptions]]
name = "bot"
topic = "messages"
url = "{sink.url}/bot"
secret = "{SECRET.text}"
retry = {retry}
{bot}

[[subscriptions]]
name = "crm"
topic = "everything"
url = "{sink.url}/crm"
secret = "{OTHER_SECRET.text}"
retry = {retry}
"""


@pytest.fixture
def rules_file(tmp_path: Path, sink: Sink) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(rules_for(sink))
    return path


@pytest.fixture
async def rules(rules_file: Path) -> AsyncIterator[ConfigFile]:
    async with ConfigFile(rules_file) as rules:
        yield rules


async def accept(redis: Redis, *webhooks: VerifiedWebhook) -> None:
    """Put events into the inbox, as the ingress does."""
    async with Acceptor(redis, 60.0, time.time) as acceptor:
        await asyncio.gather(*map(acceptor.accept, webhooks))


_ENDING = 15.0  # seconds


@asynccontextmanager
async def routing(redis: Redis, rules: ConfigFile, router: Router | None = None) -> AsyncIterator[Lease]:
    """Run a router, a new one if none is given."""
    router = router or Router(redis, rules, time.time, TIMINGS)
    stop = asyncio.Event()
    async with acquire_lease(redis, wakeups.route(redis.key).job_id) as lease:
        task = asyncio.create_task(router.drain(lease, stop))
        try:
            yield lease
        finally:
            stop.set()
            async with asyncio.timeout(_ENDING):  # it waits for a Redis that a failed test has left dead
                await task


async def topic(redis: Redis, name: str) -> list[dict[str, str]]:
    """Return the entries of a topic's stream, oldest first."""
    rows = await redis.xrange(redis.key.topic(name))
    return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in rows]


async def emptied(redis: Redis) -> bool:
    """Return True if everything that was accepted has been routed."""
    return not await redis.xlen(redis.key.inbox)
