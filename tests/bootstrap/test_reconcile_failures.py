"""Reconciling while Linq, Redis or a single line fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import linq
import pytest
from aiohttp import web
from redis.exceptions import RedisError

from relay.bootstrap import reconcile
from relay.bootstrap.deletions import Approval
from relay.bootstrap.plan import Action
from relay.core.errors import LinqApiError
from relay.linq.api import v3 as linq_api
from relay.linq.api.v3 import LinqApi, open_linq
from relay.linq.target_urls import target_url
from relay.sandbox.state import Subscription
from relay.store.driver import lock
from relay.store.driver.client import open_redis
from tests.bootstrap.bench import PUBLIC, RULES, SUBSCRIPTIONS, Bench, actions, bench_of, refuse
from tests.bootstrap.redis_gate import gate_to
from tests.sandbox.running import API_KEY, LINE, LINES, OTHER_LINE, THIRD_LINE, RunningSandbox, linq_error
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from tests.support import Clock


# --- Failures -----------------------------------------------------------------------------------------


async def test_failing_line_does_not_stop_the_others(bench: Bench) -> None:
    bench.sandbox.intercept = refuse("POST", OTHER_LINE)
    results = await bench.apply()
    assert actions(results) == [
        ("create", LINE, 1, True),
        ("create", OTHER_LINE, 1, False),
        ("create", THIRD_LINE, 1, True),
    ]
    (failed,) = [result for result in results if result.error]
    assert "Internal error" in str(failed.error)
    assert OTHER_LINE in str(failed.error)
    assert await bench.secrets() == bench.secrets_at_linq()
    bench.sandbox.intercept = None
    await bench.apply()
    assert len(bench.at_linq()) == len(LINES)


async def test_failed_creation_keeps_the_old_subscription(bench: Bench) -> None:
    await bench.apply()
    before = bench.at_linq()
    await bench.redis.flushall()
    bench.sandbox.calls.clear()
    bench.sandbox.intercept = refuse("POST", LINE)
    results = await bench.apply()
    assert ("create", LINE, 2, False) in actions(results)
    assert not [result for result in results if result.step.action is Action.DELETE and result.step.line == LINE]
    (old,) = [subscription_id for subscription_id, url in before.items() if "16465550123" in url]
    assert old in bench.at_linq()
    assert f"DELETE {SUBSCRIPTIONS}/{old}" not in bench.sandbox.calls
    assert {target_url(PUBLIC, line, 2) for line in (OTHER_LINE, THIRD_LINE)} < set(bench.at_linq().values())


async def test_failed_update_is_reported_and_retried_next_run(bench: Bench) -> None:
    await bench.apply()
    next(iter(bench.sandbox.sandbox.state.subscriptions.values())).is_active = False
    bench.sandbox.intercept = refuse("PUT")
    assert ("update", LINE, 1, False) in actions(await bench.apply())
    bench.sandbox.intercept = None
    assert ("update", LINE, 1, True) in actions(await bench.apply())


async def test_failed_deletion_is_reported_and_retried_next_run(bench: Bench) -> None:
    await bench.apply()
    bench.sandbox.sandbox.state.lines.remove(LINE)
    bench.sandbox.intercept = refuse("DELETE")
    assert ("delete", LINE, 1, False) in actions(await bench.apply(Approval.DELETIONS))
    assert await bench.secrets() == bench.secrets_at_linq()
    bench.sandbox.intercept = None
    assert ("delete", LINE, 1, True) in actions(await bench.apply(Approval.DELETIONS))
    assert len(bench.at_linq()) == len(LINES) - 1


async def test_subscription_with_a_lost_secret_is_replaced_next_run(bench: Bench) -> None:
    async def make_it_and_fail(request: web.Request) -> web.StreamResponse | None:
        if request.method != "POST":
            return None
        body = await request.json()
        made = Subscription(body["target_url"], body["subscribed_events"], body["phone_numbers"])
        bench.sandbox.sandbox.state.subscriptions[made.id] = made
        return linq_error(500, 3006, "Internal error")

    bench.sandbox.intercept = make_it_and_fail
    assert actions(await bench.apply()) == [("create", line, 1, False) for line in LINES]
    assert await bench.secrets() == {}
    bench.sandbox.intercept = None
    await bench.apply()
    assert set(bench.at_linq().values()) == {target_url(PUBLIC, line, 2) for line in LINES}
    assert await bench.secrets() == bench.secrets_at_linq()


@asynccontextmanager
async def bench_losing_redis(
    sandbox: RunningSandbox, redis_url: str, clock: Clock, *, opens_after: int | None
) -> AsyncIterator[Bench]:
    """Run a bench whose Redis fails once Linq created the first subscription, for `opens_after` calls or forever."""
    async with gate_to(redis_url) as gate:
        client = open_redis(gate.url, 1.0)

        async def shut_at_the_first_create(request: web.Request) -> web.StreamResponse | None:
            if request.method == "POST" and len(sandbox.changes) == 1:
                gate.shut()
            return None

        async def open_again(refusals: int) -> None:
            await eventually(lambda: gate.refused >= refusals)
            gate.open()

        sandbox.intercept = shut_at_the_first_create
        opening = None if opens_after is None else asyncio.create_task(open_again(opens_after))
        try:
            yield bench_of(sandbox, client, clock)
        finally:
            if opening is not None:
                await opening
            await client.aclose()


async def test_short_redis_outage_loses_no_secret(
    sandbox: RunningSandbox, redis: Redis, redis_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_STORE_PAUSE", 0.01)
    async with bench_losing_redis(sandbox, redis_url, clock, opens_after=5) as troubled:
        assert actions(await troubled.apply()) == [("create", line, 1, True) for line in LINES]
    bench = bench_of(sandbox, redis, clock)
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_unstored_secrets_are_replaced_next_run(
    sandbox: RunningSandbox, redis: Redis, redis_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_STORE_PAUSE", 0.001)
    monkeypatch.setattr(lock, "LEASE", 0.1)  # for the lock, which cannot be released
    async with bench_losing_redis(sandbox, redis_url, clock, opens_after=None) as troubled:
        results = await troubled.apply()
    assert actions(results) == [("create", line, 1, False) for line in LINES]
    assert all("Redis did not take the secret" in str(result.error) for result in results)
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES)
    sandbox.intercept = None
    bench = bench_of(sandbox, redis, clock)
    await bench.apply()
    assert set(bench.at_linq().values()) == {target_url(PUBLIC, line, 2) for line in LINES}
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_planning_without_redis_is_an_error(sandbox: RunningSandbox, redis_url: str, clock: Clock) -> None:
    async with gate_to(redis_url) as gate:
        gate.shut()
        client = open_redis(gate.url, 1.0)
        with pytest.raises((RedisError, OSError)):
            await bench_of(sandbox, client, clock).plan()
        await client.aclose()
    assert sandbox.changes == []


# --- Error responses of Linq --------------------------------------------------------------------------


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


async def test_bug_in_a_step_does_not_affect_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    create = LinqApi.create

    async def broken(api: LinqApi, url: str, events: Any, line: str | None) -> Any:
        if line == LINE:
            raise ZeroDivisionError("oops")
        return await create(api, url, events, line)

    monkeypatch.setattr(LinqApi, "create", broken)
    results = await bench.apply()
    assert [result.error for result in results if result.step.line == LINE] == ["ZeroDivisionError: oops"]
    assert sum(result.error is None for result in results) == len(LINES) - 1


async def test_failed_repair_keeps_the_other_subscriptions(bench: Bench) -> None:
    await bench.apply()
    [first, *_] = bench.sandbox.sandbox.state.subscriptions.values()
    first.events = ["message.read"]
    twin = replace(first, id="twin", target_url=first.target_url.replace("gen=1", "gen=2"))
    bench.sandbox.sandbox.state.subscriptions["twin"] = twin
    bench.sandbox.intercept = refuse("PUT")
    results = actions(await bench.apply())
    assert ("update", first.phone_numbers[0], 1, False) in results
    assert not [row for row in results if row[0] == "delete"]


async def test_failed_registration_keeps_removed_lines(
    bench: Bench, sandbox: RunningSandbox, redis: Redis, clock: Clock
) -> None:
    """Keep the removed line: the failing line may be the same line, mistyped."""
    await bench.apply()
    mistyped = bench_of(sandbox, redis, clock, f'[linq]\nlines = ["{LINE}", "+16469999999"]\n{RULES}')
    assert actions(await mistyped.apply()) == [("create", "+16469999999", 1, False), ("keep", LINE, 1, True)]
    sandbox.sandbox.state.lines.append("+16469999999")
    await mistyped.apply()
    assert len(bench.at_linq()) == 2
