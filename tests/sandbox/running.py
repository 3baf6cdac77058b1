"""A sandbox that listens, with the official SDK as its client, and an endpoint that stands for whoever subscribes."""

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
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

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
"""A speed at which 25 minutes of retries take a fraction of a second."""

ANY_PORT = Listen(host="127.0.0.1", port=0)


@dataclass(slots=True)
class RunningSandbox:
    """A sandbox on a port of its own."""

    sandbox: Sandbox
    url: str
    http: aiohttp.ClientSession
    """Sends the right key with every request."""
    client: linq.AsyncLinqAPIV3
    """The official SDK, told not to try again by itself."""
    calls: list[str] = field(default_factory=list)
    """Every request to the API, as `POST /v3/webhook-subscriptions`."""
    intercept: Interceptor | None = None
    """Sees every request first; what it answers stands in for the sandbox's own answer."""

    @property
    def base_url(self) -> str:
        """Where the SDK finds the API."""
        return f"{self.url}/api/partner"

    @property
    def changes(self) -> list[str]:
        """The calls that can change something."""
        return [call for call in self.calls if not call.startswith("GET")]

    @property
    def log(self) -> list[Delivery]:
        """Every delivery, in the order they began."""
        return list(self.sandbox.state.deliveries)

    async def subscribe(
        self, target_url: str, *events: str, lines: Sequence[str] = ()
    ) -> WebhookSubscriptionCreateResponse:
        """A subscription made through the SDK, to `message.received` if no event is named."""
        wanted: Any = list(events) or ["message.received"]
        return await self.client.webhook_subscriptions.create(
            target_url=target_url, subscribed_events=wanted, phone_numbers=list(lines)
        )

    async def emit(self, event_type: str = "message.received", **more: Any) -> Any:
        """What `POST /sandbox/emit` answers."""
        async with self.http.post(f"{self.url}/sandbox/emit", json={"type": event_type, **more}) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    def subscribe_v2(self, webhook_url: str, *events: str, secret: str | None = "v2-secret") -> V2Subscription:
        """A subscription of the v2 API, to `message.received` if no event is named."""
        state = self.sandbox.state
        subscription = V2Subscription(
            len(state.v2_subscriptions) + 1, webhook_url, list(events) or ["message.received"], secret
        )
        state.v2_subscriptions[subscription.id] = subscription
        return subscription

    async def fault(self, kind: str, **more: Any) -> Any:
        """What `POST /sandbox/faults` answers."""
        async with self.http.post(f"{self.url}/sandbox/faults", json={"kind": kind, **more}) as answer:
            assert answer.status in {200, 201}, await answer.text()
            return await answer.json()

    async def clear_faults(self) -> None:
        """Ends every fault."""
        async with self.http.delete(f"{self.url}/sandbox/faults") as answer:
            assert answer.status == 204

    async def get(self, path: str) -> Any:
        """The JSON at a path of the sandbox."""
        async with self.http.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def settled(self) -> list[Delivery]:
        """Every delivery, once none is on its way any more."""
        async with asyncio.timeout(15):
            await self.sandbox.deliveries.settled()
        return self.log


@asynccontextmanager
async def running_sandbox(
    lines: Sequence[str] = LINES, *, allow_local: bool = True, speed: float = QUICK
) -> AsyncIterator[RunningSandbox]:
    """A sandbox for as long as the context is open."""
    async with open_sandbox(lines, speed=speed) as sandbox:
        app = sandbox_app(sandbox, API_KEY, allow_local=allow_local)
        running: RunningSandbox | None = None

        @web.middleware
        async def watch(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            assert running is not None
            if not request.path.startswith("/sandbox"):
                running.calls.append(f"{request.method} {request.path.removeprefix('/api/partner')}")
            answer = await running.intercept(request) if running.intercept else None
            return await handler(request) if answer is None else answer

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
    """One POST that an endpoint got."""

    path: str
    """With its query."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def verify_standard(self, secret: str) -> None:
        """Has the `standardwebhooks` library verify it, which raises if it cannot."""
        Webhook(secret).verify(self.body, self.headers)

    def legacy_signature(self, secret: str) -> str:
        """What X-Webhook-Signature has to be: hex HMAC over `{timestamp}.{body}`, keyed with the whole secret."""
        signed = self.headers["x-webhook-timestamp"].encode() + b"." + self.body
        return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

    def is_signed_by_v2(self, secret: str) -> bool:
        """Whether X-Webhook-Signature is the one of v2: over the body alone."""
        expected = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return self.headers["x-webhook-signature"] == f"sha256={expected}"


@dataclass(slots=True)
class Endpoint:
    """A subscriber: keeps what it gets, answers what it is told to, then 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: deque[int] = field(default_factory=deque)
    """The statuses of the next answers; 0 breaks the connection off without one."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of every answer."""
    before_answering: Callable[[], Awaitable[Any]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Takes one delivery."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path_qs, headers, await request.read()))
        status = self.answers.popleft() if self.answers else 200
        if self.before_answering is not None:
            await self.before_answering()
        if status == 0:
            assert request.transport is not None
            request.transport.close()
        redirect = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status or 200, headers=self.headers | redirect)


@asynccontextmanager
async def running_endpoint() -> AsyncIterator[Endpoint]:
    """An endpoint for as long as the context is open."""
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", endpoint.handle)
    async with listening(app, ANY_PORT) as port:
        endpoint.url = f"http://127.0.0.1:{port}"
        yield endpoint


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else takes it, and never listened on."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def linq_error(status: int, code: int, message: str, **more: Any) -> web.Response:
    """An error as Linq answers it; the SDK does not try again by itself."""
    error = {"status": status, "code": code, "message": message, "doc_url": f"https://docs.linqapp.com/#{code}", **more}
    return web.json_response(
        {"success": False, "error": error, "trace_id": "0" * 32}, status=status, headers={"x-should-retry": "false"}
    )
