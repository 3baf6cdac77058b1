"""The client of Linq's v2 API against the sandbox, and against a failing Linq."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from relay.core.errors import LinqApiError
from relay.linq.api.v2 import TOKEN_HEADER, LinqV2Api, open_linq_v2
from tests.building import OTHER_SECRET, SECRET
from tests.sandbox.api.calling_v2 import URL, listed, subscribe
from tests.sandbox.running import API_KEY, LINES, RunningSandbox, closed_port, running_sandbox
from tests.support import eventually, raw_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Intercept = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

EVENTS = frozenset({"message.sent", "chat.created"})
LIST, CREATE = "GET /v2/webhook_subscriptions", "POST /v2/webhook_subscriptions"


@asynccontextmanager
async def api_at(base_url: str, token: str = API_KEY) -> AsyncIterator[LinqV2Api]:
    """Return a client that does not wait between attempts."""
    async with aiohttp.ClientSession(headers={TOKEN_HEADER: token}) as session:
        yield LinqV2Api(session, base_url, pauses=(0, 0))


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    async with running_sandbox(allow_local=False) as running:
        yield running


@pytest.fixture
async def api(sandbox: RunningSandbox) -> AsyncIterator[LinqV2Api]:
    async with api_at(f"{sandbox.base_url}/v2/") as client:
        yield client


# --- calls ----------------------------------------------------------------------------------------


async def test_subscription_is_created_active_with_our_secret(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    made = await api.create(URL, EVENTS, SECRET)
    assert (made.webhook_url, made.events, made.version) == (URL, EVENTS, 2)
    assert made.active
    assert made.secret_configured
    assert sandbox.sandbox.state.v2_subscriptions[made.id].secret == SECRET.text
    assert await api.subscriptions() == [made]
    assert sandbox.calls == [CREATE, LIST]


async def test_update_sends_every_field(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    there = await subscribe(sandbox, active=False, events=[], webhook_url=URL + "?x=1")
    await api.update(there["id"], URL, EVENTS, OTHER_SECRET)
    (row,) = await listed(sandbox)
    assert (row["webhook_url"], frozenset(row["events"]), row["active"]) == (URL, EVENTS, True)
    assert sandbox.sandbox.state.v2_subscriptions[there["id"]].secret == OTHER_SECRET.text


async def test_deleting_a_missing_subscription_succeeds(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    there = await subscribe(sandbox)
    for _ in range(2):
        await api.delete(there["id"])
    assert await api.subscriptions() == []


async def test_phone_numbers_are_listed(api: LinqV2Api) -> None:
    numbers = await api.phone_numbers()
    assert tuple(number.phone_number for number in numbers) == LINES
    assert {(number.forwarding_number, number.response_rate) for number in numbers} == {(None, 1)}


async def test_list_with_a_further_page_is_an_error(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    async def first_page(_: web.Request) -> web.StreamResponse:
        return web.json_response({"webhook_subscriptions": [], "phone_numbers": [], "next_cursor": "2"})

    sandbox.intercept = first_page
    for call in (api.subscriptions, api.phone_numbers):
        with pytest.raises(LinqApiError, match="another page"):
            await call()


async def test_client_from_settings_sends_the_token(sandbox: RunningSandbox) -> None:
    async with open_linq_v2(API_KEY, f"{sandbox.url}/v2") as client:
        assert [number.phone_number for number in await client.phone_numbers()] == list(LINES)
    async with open_linq_v2("wrong-token", f"{sandbox.url}/v2") as client:
        with pytest.raises(LinqApiError, match="LINQ_V2_TOKEN") as caught:
            await client.subscriptions()
    assert "wrong-token" not in str(caught.value)


# --- retries --------------------------------------------------------------------------------------


def respond_with(*responses: web.Response | None, of: str = "") -> Intercept:
    """Return an interceptor that gives the next calls (`of` a method) these responses; None passes a call through."""
    left: Iterator[web.Response | None] = iter(responses)

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        return next(left, None) if request.method == of or not of else None

    return intercept


def response(status: int, **headers: str) -> web.Response:
    return web.json_response({"errors": [{"detail": "not now"}]}, status=status, headers=headers)


CALLS: dict[str, Callable[[LinqV2Api], Awaitable[object]]] = {
    "list": lambda api: api.subscriptions(),
    "create": lambda api: api.create(URL, EVENTS, SECRET),
    "update": lambda api: api.update(1, URL, EVENTS, SECRET),
    "delete": lambda api: api.delete(1),
    "phone numbers": lambda api: api.phone_numbers(),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_call_is_attempted_three_times(
    sandbox: RunningSandbox, api: LinqV2Api, call: Callable[[LinqV2Api], Awaitable[object]], status: int
) -> None:
    await subscribe(sandbox, webhook_url="https://elsewhere.example.com/")
    sandbox.calls.clear()
    sandbox.intercept = respond_with(response(status), response(status))
    await call(api)
    assert len(sandbox.calls) >= 3
    sandbox.calls.clear()
    sandbox.intercept = respond_with(*[response(status) for _ in range(3)])
    with pytest.raises(LinqApiError, match=f"not now \\(status {status}\\)"):
        await call(api)
    assert len(sandbox.calls) == 3


@every_call
@pytest.mark.parametrize("status", [302, 400, 403, 422])
async def test_permanent_errors_are_not_retried(
    sandbox: RunningSandbox, api: LinqV2Api, call: Callable[[LinqV2Api], Awaitable[object]], status: int
) -> None:
    sandbox.intercept = respond_with(response(status, Location="/elsewhere"))
    with pytest.raises(LinqApiError, match=f"status {status}"):
        await call(api)
    assert len(sandbox.calls) == 1


async def test_secrets_in_linq_error_messages_are_masked(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    message = f"secret {SECRET.text} is too long for {API_KEY}"
    sandbox.intercept = respond_with(web.json_response({"message": message, "errors": [message + "!"]}, status=422))
    with pytest.raises(LinqApiError, match=r"secret \*\*\* is too long for \*\*\*") as caught:
        await api.create(URL, EVENTS, SECRET)
    assert SECRET.text not in str(caught.value)
    assert API_KEY not in str(caught.value)


async def test_retry_after_is_honoured(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = respond_with(response(429, **{"Retry-After": "60"}))
    waiting = asyncio.create_task(api.subscriptions())
    await eventually(lambda: sandbox.calls)
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    assert len(sandbox.calls) == 1
    waiting.cancel()


async def test_too_long_retry_after_fails_the_call(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = respond_with(response(429, **{"Retry-After": "61"}))
    with pytest.raises(LinqApiError, match="status 429"):
        await api.subscriptions()
    assert len(sandbox.calls) == 1


@every_call
async def test_unreachable_linq_is_an_error(call: Callable[[LinqV2Api], Awaitable[object]]) -> None:
    with closed_port() as port:
        async with api_at(f"http://127.0.0.1:{port}/v2") as client:
            with pytest.raises(LinqApiError, match="Linq cannot be reached") as caught:
                await call(client)
    assert API_KEY not in str(caught.value)


async def test_lost_connection_creates_once() -> None:
    asked = []

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).split()[0])

    async with raw_server(hang_up) as port, api_at(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(LinqApiError, match="Linq cannot be reached"):
            await client.create(URL, EVENTS, SECRET)
    assert asked.count(b"POST") == 1
    assert asked.count(b"GET") >= 2


@pytest.mark.parametrize("call", [CALLS[name] for name in CALLS if name != "delete"])
async def test_html_response_is_an_error(
    sandbox: RunningSandbox, api: LinqV2Api, call: Callable[[LinqV2Api], Awaitable[object]]
) -> None:
    sandbox.intercept = respond_with(web.Response(text="<h1>Welcome</h1>", content_type="text/html"))
    with pytest.raises(LinqApiError, match="LINQ_V2_BASE_URL"):
        await call(api)


# --- a creation whose response was lost -----------------------------------------------------------


def lose_responses(sandbox: RunningSandbox, how_often: int = 1) -> Intercept:
    """Return an interceptor that lets the first creations reach Linq but loses their responses."""
    left = how_often

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if request.method != "POST" or not left:
            return None
        left -= 1
        requested: dict[str, Any] = (await request.json())["webhook_subscription"]
        sandbox.intercept = None
        await subscribe(sandbox, **requested)
        sandbox.intercept = intercept
        sandbox.calls.clear()
        return web.json_response({}, status=504)

    return intercept


async def test_creation_with_lost_response_is_not_repeated(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = lose_responses(sandbox)
    made = await api.create(URL, EVENTS, SECRET)
    assert [subscription.id for subscription in await api.subscriptions()] == [made.id]
    assert sandbox.calls == [LIST, "PUT /v2/webhook_subscriptions/1", LIST]
    assert sandbox.sandbox.state.v2_subscriptions[made.id].secret == SECRET.text


async def test_existing_subscription_is_updated(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    theirs = await subscribe(sandbox, secret="theirs", active=False, events=["message.read"])
    elsewhere = await subscribe(sandbox, webhook_url=URL + "/not")
    sandbox.intercept = respond_with(response(500), of="POST")
    made = await api.create(URL, EVENTS, SECRET)
    assert (made.id, made.events, made.active) == (theirs["id"], EVENTS, True)
    assert sandbox.sandbox.state.v2_subscriptions[made.id].secret == SECRET.text
    assert (await listed(sandbox))[1] == elsewhere


async def test_failed_creation_is_retried(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = respond_with(response(500), of="POST")
    made = await api.create(URL, EVENTS, SECRET)
    assert sandbox.calls == [CREATE, LIST, CREATE]
    assert [subscription.id for subscription in await api.subscriptions()] == [made.id]


async def test_rate_limited_creation_is_retried_without_a_check(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = respond_with(response(429))
    await api.create(URL, EVENTS, SECRET)
    assert sandbox.calls == [CREATE, CREATE]


async def test_creation_is_not_retried_while_the_check_fails(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = respond_with(response(500), response(500), response(500))
    with pytest.raises(LinqApiError, match="listing v2 subscriptions"):
        await api.create(URL, EVENTS, SECRET)
    assert sandbox.calls == [CREATE, LIST, LIST]
