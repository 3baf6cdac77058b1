"""Test servers: a sandbox with the official SDK as its client, and the endpoint of a subscriber."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import linq
from aiohttp import web
from standardwebhooks import Webhook

from relay.net.http_listener import listening
from relay.net.listen_address import Listen
from relay.sandbox.app import open_sandbox, sandbox_app
from relay.sandbox.state import V2Subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from linq.types import WebhookSubscriptionCreateResponse

    from relay.sandbox.app import Sandbox
    from relay.sandbox.state import Delivery

    Interceptor = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

API_KEY = "sandbox-key"
LINE = "+16465550123"
OTHER_LINE = "+16465550124"
THIRD_LINE = "+16465550125"
LINES = (LINE, OTHER_LINE, THIRD_LINE)
QUICK = 10_000.0
"""Speed at which 25 minutes of retries take a fraction of a second."""

ANY_PORT = Listen(host="127.0.0.1", port=0)


@dataclass(slots=True)
class RunningSandbox:
    """A sandbox on a port of its own."""

    sandbox: Sandbox
    url: str
    http: aiohttp.ClientSession
    """Sends the API key with every request."""
    client: linq.AsyncLinqAPIV3
    """The official SDK, with its own retries disabled."""
    calls: list[str] = field(default_factory=list)
    """All requests to the API, such as `POST /v3/webhook-subscriptions`."""
    intercept: Interceptor | None = None
    """Gets every request first; a response that it returns replaces that of the sandbox."""

    @property
    def base_url(self) -> str:
        """Base URL of the API for the SDK."""
        return f"{self.url}/api/partner"

    @property
    def changes(self) -> list[str]:
        """Requests that can change state."""
        return [call for call in self.calls if not call.startswith("GET")]

    @property
    def log(self) -> list[Delivery]:
        """All deliveries, oldest first."""
        return list(self.sandbox.state.deliveries)

    async def subscribe(
        self, target_url: str, *events: str, lines: Sequence[str] = ()
    ) -> WebhookSubscriptionCreateResponse:
        """Subscribe through the SDK, by default to `message.received`."""
        subscribed: Any = list(events) or ["message.received"]
        return await self.client.webhook_subscriptions.create(
            target_url=target_url, subscribed_events=subscribed, phone_numbers=list(lines)
        )

    async def emit(self, event_type: str = "message.received", **more: Any) -> Any:
        """Call `POST /sandbox/emit` and return the response."""
        async with self.http.post(f"{self.url}/sandbox/emit", json={"type": event_type, **more}) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    def subscribe_v2(self, webhook_url: str, *events: str, secret: str | None = "v2-secret") -> V2Subscription:
        """Add a subscription of the v2 API, by default to `message.received`."""
        state = self.sandbox.state
        subscription = V2Subscription(
            len(state.v2_subscriptions) + 1, webhook_url, list(events) or ["message.received"], secret
        )
        state.v2_subscriptions[subscription.id] = subscription
        return subscription

    async def fault(self, kind: str, **more: Any) -> Any:
        """Call `POST /sandbox/faults` and return the response."""
        async with self.http.post(f"{self.url}/sandbox/faults", json={"kind": kind, **more}) as response:
            assert response.status in {200, 201}, await response.text()
            return await response.json()

    async def clear_faults(self) -> None:
        """Remove every fault."""
        async with self.http.delete(f"{self.url}/sandbox/faults") as response:
            assert response.status == 204

    async def get(self, path: str) -> Any:
        """Return the JSON at a path of the sandbox."""
        async with self.http.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def settled(self) -> list[Delivery]:
        """Wait until no delivery is in flight; return all deliveries."""
        async with asyncio.timeout(15):
            await self.sandbox.deliveries.settled()
        return self.log


@asynccontextmanager
async def running_sandbox(
    lines: Sequence[str] = LINES,
    *,
    allow_local: bool = True,
    speed: float = QUICK,
    accounts: Mapping[str, Sequence[str]] | None = None,
) -> AsyncIterator[RunningSandbox]:
    """Run a sandbox."""
    async with open_sandbox(lines, speed=speed, accounts=accounts) as sandbox:
        app = sandbox_app(sandbox, API_KEY, allow_local=allow_local)
        running: RunningSandbox | None = None

        @web.middleware
        async def watch(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            assert running is not None
            if not request.path.startswith("/sandbox"):
                running.calls.append(f"{request.method} {request.path.removeprefix('/api/partner')}")
            response = await running.intercept(request) if running.intercept else None
            return await handler(request) if response is None else response

        app.middlewares.append(watch)
        async with (
            listening(app, ANY_PORT) as port,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_KEY}"}) as http,
            linq.AsyncLinqAPIV3(
                api_key=API_KEY,
                base_url=f"http://127.0.0.1:{port}/api/partner",
                max_retries=0,
                http_client=linq.DefaultAsyncHttpxClient(verify=False),  # plain HTTP; reading the CAs takes 30 ms
            ) as client,
        ):
            running = RunningSandbox(sandbox, f"http://127.0.0.1:{port}", http, client)
            yield running


@dataclass(frozen=True, slots=True)
class Received:
    """A POST received by an endpoint."""

    path: str
    """Path with query."""
    headers: dict[str, str]
    """Headers with lower-case names."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def verify_standard(self, secret: str) -> None:
        """Verify with the `standardwebhooks` library, which raises if the signature is wrong."""
        Webhook(secret).verify(self.body, self.headers)

    def legacy_signature(self, secret: str) -> str:
        """Return the expected X-Webhook-Signature: hex HMAC over `{timestamp}.{body}`, keyed with the whole secret."""
        signed = self.headers["x-webhook-timestamp"].encode() + b"." + self.body
        return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

    def is_signed_by_v2(self, secret: str) -> bool:
        """Return True if X-Webhook-Signature is that of v2, over the body alone."""
        expected = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return self.headers["x-webhook-signature"] == f"sha256={expected}"


@dataclass(slots=True)
class Endpoint:
    """A subscriber: stores the requests, responds with the given statuses, then 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    """Statuses of the next responses; 0 closes the connection without a response."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of every response."""
    before_response: Callable[[], Awaitable[Any]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Receive a delivery."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path_qs, headers, await request.read()))
        status = self.statuses.popleft() if self.statuses else 200
        if self.before_response is not None:
            await self.before_response()
        if status == 0:
            assert request.transport is not None
            request.transport.close()
        redirect = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status or 200, headers=self.headers | redirect)


@asynccontextmanager
async def running_endpoint() -> AsyncIterator[Endpoint]:
    """Run an endpoint."""
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endpoint.handle)
    async with listening(app, ANY_PORT) as port:
        endpoint.url = f"http://127.0.0.1:{port}"
        yield endpoint


@contextmanager
def closed_port() -> Iterator[int]:
    """Reserve a port that refuses connections: bound, so that no other process takes it, but not listening."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def linq_error(status: int, code: int, message: str, **more: Any) -> web.Response:
    """Build an error response of Linq with `x-should-retry: false`, so that the SDK does not retry."""
    error = {"status": status, "code": code, "message": message, "doc_url": f"https://docs.linqapp.com/#{code}", **more}
    return web.json_response(
        {"success": False, "error": error, "trace_id": "0" * 32}, status=status, headers={"x-should-retry": "false"}
    )
