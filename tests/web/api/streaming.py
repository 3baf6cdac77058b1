"""An API with streams on the test's Redis, its tokens, and a client that reads server-sent events."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from relay.net.front import Requests
from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.web.admin.app import admin_app
from relay.web.admin.listener import AdminFront
from relay.web.api.app import app_of
from relay.web.api.operations import OPERATIONS
from relay.web.connections import Limits
from tests.services.topics.pull.reading import CRM, OPERATOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.access.principal import Principal
    from relay.process.timings import Timings
    from relay.services.context import Context

_LIMITS = Limits(connections=256, unverified=4 * 1024 * 1024, idle=75.0)


@dataclass(slots=True)
class Api:
    """A running API."""

    http: aiohttp.ClientSession
    """Its base URL ends with `/api/v1/`; it sends the team's token."""
    tokens: dict[str, Principal]
    """Principals by token; a test may change them."""
    requests: Requests
    port: int

    @asynccontextmanager
    async def events(self, path: str, last: str | None = None) -> AsyncIterator[Messages]:
        """Open a stream."""
        headers = {} if last is None else {"Last-Event-ID": last}
        async with self.http.get(path, headers=headers) as response:
            assert response.status == 200, await response.text()
            yield Messages(response)


@dataclass(slots=True)
class Messages:
    """The messages of a stream."""

    response: aiohttp.ClientResponse
    last_id: str | None = None
    comments: list[str] = field(default_factory=list)

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> tuple[str, dict[str, Any]]:
        """Return the name and the data of the next message that has data."""
        event, data = "message", None
        while line := await self.response.content.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                event = value
            elif name == "data":
                data = json.loads(value)
            elif line.startswith(b":"):
                self.comments.append(value)
            elif not name:
                if data is not None:
                    return event, data
                event = "message"
        raise StopAsyncIteration

    async def ids(self, count: int) -> list[str]:
        """Return the ids of the next events."""
        return [(await anext(self))[1]["id"] for _ in range(count)]


@asynccontextmanager
async def running_api(context: Context, timings: Timings) -> AsyncIterator[Api]:
    """Run the API behind an admin listener."""
    tokens = {"crm": CRM, "ops": OPERATOR}

    async def authenticate(context: Context, text: str, source: str) -> Principal | None:
        del context, source
        return tokens.get(text)

    class Observed:
        async def live(self) -> dict[str, Any]:
            return {}

        ready = live

        async def metrics(self) -> bytes:
            return b""

    app = admin_app(Observed(), {"/api/v1": app_of(context, OPERATIONS, authenticate)}, busy=200)
    requests = Requests()
    serving = listening(
        app,
        Listen(host="127.0.0.1", port=0),
        front=lambda protocol, requests: AdminFront(protocol, requests, _LIMITS, timings),
        requests=requests,
    )
    async with serving as port:
        session = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}/api/v1/",
            headers={"Authorization": "Bearer crm"},
            timeout=aiohttp.ClientTimeout(total=20),
            connector=aiohttp.TCPConnector(limit=0),
        )
        async with session:
            yield Api(session, tokens, requests, port)
