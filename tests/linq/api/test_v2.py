"""The client of Linq's v2 API against the sandbox, and against a Linq in trouble."""

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
    """A client that does not wait between attempts."""
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


# --- what it does ---------------------------------------------------------------------------------


async def test_a_subscription_is_created_active_and_with_our_secret(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    made = await api.create(URL, EVENTS, SECRET)
    assert (made.webhook_url, made.events, made.version) == (URL, EVENTS, 2)
    assert made.active
    assert made.secret_configured
    assert sandbox.sandbox.state.v2_subscriptions[made.id].secret == SECRET.text
    assert await api.subscriptions() == [made]
    assert sandbox.calls == [CREATE, LIST]


async def test_an_update_says_everything_anew(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    there = await subscribe(sandbox, active=False, events=[], webhook_url=URL + "?x=1")
    await api.update(there["id"], URL, EVENTS, OTHER_SECRET)
    (row,) = await listed(sandbox)
    assert (row["webhook_url"], frozenset(row["events"]), row["active"]) == (URL, EVENTS, True)
    assert sandbox.sandbox.state.v2_subscriptions[there["id"]].secret == OTHER_SECRET.text


async def test_deleting_one_that_is_gone_is_fine(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    there = await subscribe(sandbox)
    for _ in range(2):
        await api.delete(there["id"])
    assert await api.subscriptions() == []


async def test_phone_numbers_are_listed(api: LinqV2Api) -> None:
    numbers = await api.phone_numbers()
    assert tuple(number.phone_number for number in numbers) == LINES
    assert {(number.forwarding_number, number.response_rate) for number in numbers} == {(None, 1)}


async def test_the_client_that_commands_open_sends_the_token(sandbox: RunningSandbox) -> None:
    async with open_linq_v2(API_KEY, f"{sandbox.url}/v2") as client:
        assert [number.phone_number for number in await client.phone_numbers()] == list(LINES)
    async with open_linq_v2("wrong-token", f"{sandbox.url}/v2") as client:
        with pytest.raises(LinqApiError, match="LINQ_V2_TOKEN") as caught:
            await client.subscriptions()
    assert "wrong-token" not in str(caught.value)


# --- what is tried again --------------------------------------------------------------------------


def trouble(*answers: web.Response | None, of: str = "") -> Intercept:
    """An interceptor: the next calls (`of` a method) get these answers; None leaves the call to the sandbox."""
    left: Iterator[web.Response | None] = iter(answers)

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        return next(left, None) if request.method == of or not of else None

    return intercept


def answer(status: int, **headers: str) -> web.Response:
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
async def test_a_call_is_made_three_times(
    sandbox: RunningSandbox, api: LinqV2Api, call: Callable[[LinqV2Api], Awaitable[object]], status: int
) -> None:
    await subscribe(sandbox, webhook_url="https://elsewhere.example.com/")
    sandbox.calls.clear()
    sandbox.intercept = trouble(answer(status), answer(status))
    await call(api)
    assert len(sandbox.calls) >= 3
    sandbox.calls.clear()
    sandbox.intercept = trouble(*[answer(status) for _ in range(3)])
    with pytest.raises(LinqApiError, match=f"not now \\(status {status}\\)"):
        await call(api)
    assert len(sandbox.calls) == 3


@every_call
@pytest.mark.parametrize("status", [302, 400, 403, 422])
async def test_permanent_errors_are_not_retried(
    sandbox: RunningSandbox, api: LinqV2Api, call: Callable[[LinqV2Api], Awaitable[object]], status: int
) -> None:
    sandbox.intercept = trouble(answer(status, Location="/elsewhere"))
    with pytest.raises(LinqApiError, match=f"status {status}"):
        await call(api)
    assert len(sandbox.calls) == 1


async def test_secrets_in_linqs_message_are_masked(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    said = f"secret {SECRET.text} is too long for {API_KEY}"
    sandbox.intercept = trouble(web.json_response({"message": said, "errors": [said + "!"]}, status=422))
    with pytest.raises(LinqApiError, match=r"secret \*\*\* is too long for \*\*\*") as caught:
        await api.create(URL, EVENTS, SECRET)
    assert SECRET.text not in str(caught.value)
    assert API_KEY not in str(caught.value)


async def test_retry_after_is_waited_for(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = trouble(answer(429, **{"Retry-After": "60"}))
    waiting = asyncio.create_task(api.subscriptions())
    await eventually(lambda: sandbox.calls)
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    assert len(sandbox.calls) == 1
    waiting.cancel()


async def test_too_long_retry_after_fails_the_call(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = trouble(answer(429, **{"Retry-After": "61"}))
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
    sandbox.intercept = trouble(web.Response(text="<h1>Welcome</h1>", content_type="text/html"))
    with pytest.raises(LinqApiError, match="LINQ_V2_BASE_URL"):
        await call(api)


# --- a creation that may have happened ------------------------------------------------------------


def made_all_the_same(sandbox: RunningSandbox, how_often: int = 1) -> Intercept:
    """An interceptor: the first creations reach Linq, but their answers do not come back."""
    left = how_often

    async def intercept(request: web.Request) -> web.StreamResponse | None:
        nonlocal left
        if request.method != "POST" or not left:
            return None
        left -= 1
        wanted: dict[str, Any] = (await request.json())["webhook_subscription"]
        sandbox.intercept = None
        await subscribe(sandbox, **wanted)
        sandbox.intercept = intercept
        sandbox.calls.clear()
        return web.json_response({}, status=504)

    return intercept


async def test_creation_with_lost_response_is_not_repeated(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = made_all_the_same(sandbox)
    made = await api.create(URL, EVENTS, SECRET)
    assert [one.id for one in await api.subscriptions()] == [made.id]
    assert sandbox.calls == [LIST, "PUT /v2/webhook_subscriptions/1", LIST]
    assert sandbox.sandbox.state.v2_subscriptions[made.id].secret == SECRET.text


async def test_existing_subscription_is_updated(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    theirs = await subscribe(sandbox, secret="theirs", active=False, events=["message.read"])
    elsewhere = await subscribe(sandbox, webhook_url=URL + "/not")
    sandbox.intercept = trouble(answer(500), of="POST")
    made = await api.create(URL, EVENTS, SECRET)
    assert (made.id, made.events, made.active) == (theirs["id"], EVENTS, True)
    assert sandbox.sandbox.state.v2_subscriptions[made.id].secret == SECRET.text
    assert (await listed(sandbox))[1] == elsewhere


async def test_failed_creation_is_retried(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = trouble(answer(500), of="POST")
    made = await api.create(URL, EVENTS, SECRET)
    assert sandbox.calls == [CREATE, LIST, CREATE]
    assert [one.id for one in await api.subscriptions()] == [made.id]


async def test_rate_limited_creation_is_retried_without_a_check(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = trouble(answer(429))
    await api.create(URL, EVENTS, SECRET)
    assert sandbox.calls == [CREATE, CREATE]


async def test_creation_is_not_retried_while_the_check_fails(sandbox: RunningSandbox, api: LinqV2Api) -> None:
    sandbox.intercept = trouble(answer(500), answer(500), answer(500))
    with pytest.raises(LinqApiError, match="listing v2 subscriptions"):
        await api.create(URL, EVENTS, SECRET)
    assert sandbox.calls == [CREATE, LIST, LIST]
