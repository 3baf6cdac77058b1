"""Fixtures: an ingress over real HTTP, with a fixed clock and two lines in its keyring."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import aiohttp
import pytest
from pydantic import SecretStr

from relay.config.settings import Settings
from relay.core.secret import new_key
from relay.ingress_parts import IngressParts, ingress_parts
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.parts import open_keyring
from relay.process.timings import DEFAULTS, Timings
from relay.store.keyring import key_cache
from relay.web.aiohttp_app import ingress_app
from relay.web.fast.path import FastPath
from relay.web.handed_over import HandedOver
from relay.web.health import Readiness, probes
from relay.web.ingress import Ingress
from relay.web.server import listening_for_webhooks
from tests.building import LINE, OTHER_LINE, OTHER_SECRET, SECRET
from tests.support import KEYS, eventually
from tests.web.handing_over import handover_to

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from relay.net.front import ProtocolFactory, Requests
    from relay.store.driver.client import Redis
    from relay.store.keyring.keyring import Keyring
    from relay.web.connections import Limits
    from tests.support import Clock

ANY_PORT = Listen(host="127.0.0.1", port=0)
V2_SECRET = "relay-v2-secret"
V2_FORMER_SECRET = "relay-v2-secret-of-before"


@dataclass(frozen=True, slots=True)
class Running:
    """An ingress, and a client of it."""

    parts: IngressParts
    readiness: Readiness
    keyring: Keyring
    http: aiohttp.ClientSession
    port: int

    async def post(
        self, body: bytes, headers: dict[str, str] | list[tuple[str, str]], query: str = "line=16465550123"
    ) -> aiohttp.ClientResponse:
        """Return the response of the v3 endpoint."""
        return await self.http.post(f"/webhooks/linq?{query}", data=body, headers=headers)

    @asynccontextmanager
    async def listening(
        self, way: str = "fast path", limits: Limits | None = None, timings: Timings = DEFAULTS
    ) -> AsyncIterator[int]:
        """Listen with the same ingress on another port; the other way leaves each connection to aiohttp."""
        factory = FastPath if way == "fast path" else OnlyAiohttp
        ingress = Ingress(self.parts)

        def front(aiohttp: ProtocolFactory, requests: Requests) -> FastPath:
            ways = handover_to(aiohttp)
            known = probes(self.readiness)
            return factory(ingress, self.parts.clock, ways, requests, limits=limits, timings=timings, probes=known)

        app = ingress_app(ingress, self.readiness)
        async with listening(app, ANY_PORT, front=front, on_malformed=ingress.refuse_malformed) as port:
            yield port


class OnlyAiohttp(FastPath):
    """Connections of which aiohttp serves every request."""

    def __call__(self) -> asyncio.Protocol:
        assert self.aiohttp.factory is not None
        return HandedOver(self.connections, self.aiohttp.factory())


@pytest.fixture(params=["fast path", "aiohttp"])
def way(request: pytest.FixtureRequest) -> str:
    """Return the way that requests take: each test runs over both."""
    return str(request.param)


@cache
def settings_at(redis_url: str) -> Settings:
    """Return the settings of an ingress, the same for each test: 6 ms of CPU."""
    return Settings(
        redis_url=redis_url,
        relay_secret_key=SecretStr(new_key()),
        linq_v2_webhook_secret=SecretStr(V2_SECRET),
        linq_v2_webhook_secret_old=SecretStr(V2_FORMER_SECRET),
    )


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Return the settings of an ingress."""
    return settings_at(redis_url)


@pytest.fixture(autouse=True)
def quick_reads_of_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request without a matching secret wait 10 ms for the next read of the keyring, not 250."""
    monkeypatch.setattr(key_cache, "_MIN_INTERVAL", 0.01)


@pytest.fixture
async def ingress(redis: Redis, settings: Settings, clock: Clock) -> AsyncIterator[Running]:
    """Run an ingress that is ready."""
    keyring = open_keyring(settings, redis)
    await keyring.store(LINE, 1, "linq-1", SECRET, 0)
    await keyring.store(OTHER_LINE, 1, "linq-2", OTHER_SECRET, 0)
    async with ingress_parts(settings, clock, Timings(refusal_log=0.02, refusal_delay=0.02)) as parts:
        await eventually(lambda: parts.keys.is_loaded)
        readiness = Readiness(parts)
        async with (
            listening_for_webhooks(parts, readiness, ANY_PORT, timings=Timings(drain_idle=0.02)) as port,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        ):
            yield Running(parts, readiness, keyring, http, port)


async def inbox(redis: Redis) -> list[dict[bytes, bytes]]:
    """Return the entries of the inbox."""
    return [fields for _, fields in await redis.xrange(KEYS.inbox)]


async def stored(redis: Redis) -> list[str]:
    """Return the ids in the inbox."""
    return [fields[b"id"].decode() for _, fields in await redis.xrange(KEYS.inbox)]
