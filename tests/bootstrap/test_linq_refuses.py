"""Reconciling while Linq answers with errors, or with what is not Linq's."""

from __future__ import annotations

import asyncio
from typing import Any

import linq
import pytest
from aiohttp import web

from relay.bootstrap.plan import Action
from relay.core.errors import LinqApiError
from relay.linq.api import v3 as linq_api
from relay.linq.api.v3 import LinqApi, open_linq
from tests.bootstrap.bench import PUBLIC, Bench, actions
from tests.sandbox.running import API_KEY, LINE, LINES, RunningSandbox, linq_error


async def test_unreachable_linq_is_a_single_sentence(refusing_port: int) -> None:
    base_url = f"http://127.0.0.1:{refusing_port}/api/partner"
    async with linq.AsyncLinqAPIV3(api_key=API_KEY, base_url=base_url, max_retries=0) as client:
        with pytest.raises(LinqApiError, match="listing phone numbers: Linq cannot be reached"):
            await LinqApi(client).lines()


async def test_refused_key_is_named_by_its_variable(sandbox: RunningSandbox) -> None:
    async with open_linq("another-key", sandbox.base_url) as api:
        for call in (api.lines(), api.subscriptions(), api.create(f"{PUBLIC}/x", ["message.sent"], LINE)):
            with pytest.raises(LinqApiError, match=r"LINQ_API_V3_API_KEY \(401\)"):
                await call


async def answer_429(_: web.Request) -> web.StreamResponse:
    return linq_error(429, 1007, "Rate limit exceeded", retry_after=7)


@pytest.fixture
def no_rate_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the timeout for Linq's rate limit to zero."""
    monkeypatch.setattr(linq_api, "RATE_TIMEOUT", 0.0)


@pytest.mark.usefixtures("no_rate_timeout")
async def test_refusal_has_linq_message_and_code(bench: Bench) -> None:
    bench.sandbox.intercept = answer_429
    with pytest.raises(LinqApiError) as refused:
        await bench.plan()
    for part in ("Rate limit exceeded", "429", "1007", "https://docs.linqapp.com/#1007"):
        assert part in str(refused.value)


@pytest.mark.usefixtures("no_rate_timeout")
async def test_refusal_is_a_sentence_without_the_response_body(bench: Bench) -> None:
    bench.sandbox.intercept = answer_429
    with pytest.raises(LinqApiError) as refused:
        await bench.reconciler._api.lines()
    assert str(refused.value) == (
        "listing phone numbers: Rate limit exceeded (status 429, code 1007); see https://docs.linqapp.com/#1007"
    )


async def test_short_rate_limit_is_waited_out(sandbox: RunningSandbox) -> None:
    answered = 0

    async def limit_twice(_: web.Request) -> web.StreamResponse | None:
        nonlocal answered
        answered += 1
        return web.Response(status=429, headers={"retry-after-ms": "10"}) if answered <= 2 else None

    sandbox.intercept = limit_twice
    async with open_linq(API_KEY, sandbox.base_url) as api:
        assert (await api.lines()).lines == list(LINES)
    assert answered == 3


async def test_lasting_rate_limit_delays_every_call(bench: Bench) -> None:
    refused = 0

    async def limit_often(_: web.Request) -> web.StreamResponse | None:
        nonlocal refused
        refused += 1
        return linq_error(429, 1007, "Rate limit exceeded", retry_after=0.01) if refused <= 40 else None

    bench.sandbox.intercept = limit_often
    assert actions(await bench.apply()) == [("create", line, 1, True) for line in LINES]


async def test_foreign_response_is_a_single_sentence(bench: Bench) -> None:
    async def some_web_page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Welcome!</html>", content_type="text/html")

    bench.sandbox.intercept = some_web_page
    with pytest.raises(LinqApiError):
        await bench.plan()


async def test_account_without_lines_is_an_error_and_deletes_nothing(bench: Bench) -> None:
    await bench.apply()
    bench.sandbox.sandbox.state.lines.clear()
    with pytest.raises(LinqApiError, match="no phone numbers"):
        await bench.plan()
    assert len(bench.at_linq()) == len(LINES)


async def test_event_types_default_to_the_sdk(bench: Bench) -> None:
    async def not_found(request: web.Request) -> web.StreamResponse | None:
        return linq_error(404, 2010, "Not found") if request.path.endswith("/webhook-events") else None

    bench.sandbox.intercept = not_found
    assert {step.action for step in await bench.plan()} == {Action.CREATE}


@pytest.mark.usefixtures("no_rate_timeout")
@pytest.mark.parametrize("retry_after", ["1", "90"])
async def test_sdk_does_not_retry_a_rate_limit(sandbox: RunningSandbox, retry_after: str) -> None:
    asked = 0

    async def limit(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=429, text="<html>slow down</html>", headers={"Retry-After": retry_after})

    sandbox.intercept = limit
    async with open_linq(API_KEY, sandbox.base_url) as api:
        with pytest.raises(LinqApiError, match="status 429"):
            await api.lines()
        assert api._resume_at - asyncio.get_running_loop().time() <= 0
    assert asked == 1


MALFORMED = [
    b"",
    b'{"phone_numbers":[{"id',
    b"[]",
    b"{}",
    b'{"phone_numbers":[null],"subscriptions":[null],"events":[null]}',
    b'{"phone_numbers":5,"subscriptions":5,"events":5}',
    b'{"phone_numbers":["x"],"subscriptions":[{"id":null}],"events":[{}]}',
    b'{"success":false,"error":{"status":500,"code":3006,"message":"Internal"}}',
]


@pytest.mark.parametrize("path", ["/phone_numbers", "/webhook-subscriptions", "/webhook-events"])
@pytest.mark.parametrize("body", MALFORMED)
async def test_foreign_body_with_status_200_is_a_single_sentence(bench: Bench, path: str, body: bytes) -> None:
    async def respond(request: web.Request) -> web.StreamResponse | None:
        return web.Response(body=body, content_type="application/json") if request.path.endswith(path) else None

    bench.sandbox.intercept = respond
    with pytest.raises(LinqApiError, match=r"^listing [a-z ]+: the response is not Linq's; check LINQ_API_V3_BASE_URL"):
        await bench.plan()


@pytest.mark.parametrize(
    "change",
    [
        {"signing_secret": ""},
        {"signing_secret": None},
        {"id": None},
        {"target_url": 5},
        None,
    ],
    ids=str,
)
async def test_creation_with_a_bad_response_is_replaced_next_run(bench: Bench, change: dict[str, Any] | None) -> None:
    """Truncate Linq's first response to a creation, or drop the secret that Linq shows only once."""
    strange = 0

    async def respond(request: web.Request) -> web.StreamResponse | None:
        nonlocal strange
        if request.method != "POST" or strange:
            return None
        strange += 1
        async with bench.sandbox.http.post(
            f"{bench.sandbox.url}/v3/webhook-subscriptions", json=await request.json()
        ) as made:
            body = await made.json()
        if change is None:
            return web.Response(status=201, body=b'{"id": "', content_type="application/json")
        return web.json_response({**body, **change}, status=201)

    bench.sandbox.intercept = respond
    results = actions(await bench.apply())
    assert [well for *_, well in results].count(False) == 1
    assert len(await bench.keyring.records()) == len(LINES) - 1
    again = actions(await bench.apply())
    assert [(action, well) for action, _, _, well in again if action != "keep"] == [("create", True), ("delete", True)]
    assert actions(await bench.apply()) == [("keep", *row[1:]) for row in actions(await bench.apply())]
    assert len(bench.at_linq()) == len(LINES)
