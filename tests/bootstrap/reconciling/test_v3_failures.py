"""Reconciling while Linq, Redis or a single line fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import RedisError

from relay.bootstrap.deletions import Approval
from relay.bootstrap.plan import Action
from relay.bootstrap.reconciling import v3 as reconcile
from relay.linq.api.v3 import LinqApi
from relay.sandbox.state import Subscription
from relay.store.driver import lock
from relay.store.driver.client import open_redis
from tests.bootstrap.bench import LINES_ONLY, SUBSCRIPTIONS, TOPICS, Bench, actions, bench_of, refuse
from tests.bootstrap.redis_proxy import proxy_to
from tests.sandbox.running import LINE, LINES, OTHER_LINE, THIRD_LINE, RunningSandbox, linq_error
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from relay.store.driver.client import Redis
    from tests.support import Clock


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
    await bench.redis.delete(KEYS.keyring)
    bench.sandbox.calls.clear()
    bench.sandbox.intercept = refuse("POST", LINE)
    results = await bench.apply()
    assert ("create", LINE, 2, False) in actions(results)
    assert not [result for result in results if result.step.action is Action.DELETE and result.step.line == LINE]
    (old,) = [subscription_id for subscription_id, url in before.items() if "16465550123" in url]
    assert old in bench.at_linq()
    assert f"DELETE {SUBSCRIPTIONS}/{old}" not in bench.sandbox.calls
    assert {await bench.url(line, 2) for line in (OTHER_LINE, THIRD_LINE)} < set(bench.at_linq().values())


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
    assert set(bench.at_linq().values()) == {await bench.url(line, 2) for line in LINES}
    assert await bench.secrets() == bench.secrets_at_linq()


@asynccontextmanager
async def bench_losing_redis(
    sandbox: RunningSandbox, redis_url: str, clock: Clock, *, opens_after: int | None
) -> AsyncIterator[Bench]:
    """Run a bench whose Redis fails once Linq created the first subscription, for `opens_after` calls or forever."""
    async with proxy_to(redis_url) as proxy:
        client = open_redis(proxy.url, 1.0)

        async def shut_at_the_first_create(request: web.Request) -> web.StreamResponse | None:
            if request.method == "POST" and len(sandbox.changes) == 1:
                proxy.shut()
            return None

        async def open_again(refusals: int) -> None:
            await eventually(lambda: proxy.refused >= refusals)
            proxy.open()

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
    async with bench_losing_redis(sandbox, redis_url, clock, opens_after=5) as losing:
        assert actions(await losing.apply()) == [("create", line, 1, True) for line in LINES]
    bench = bench_of(sandbox, redis, clock)
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_unstored_secrets_are_replaced_next_run(
    sandbox: RunningSandbox, redis: Redis, redis_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_STORE_PAUSE", 0.001)
    monkeypatch.setattr(lock, "LEASE", 0.1)  # for the lock, which cannot be released
    async with bench_losing_redis(sandbox, redis_url, clock, opens_after=None) as losing:
        results = await losing.apply()
    assert actions(results) == [("create", line, 1, False) for line in LINES]
    assert all("Redis did not take the secret" in str(result.error) for result in results)
    assert len(sandbox.sandbox.state.subscriptions) == len(LINES)
    sandbox.intercept = None
    bench = bench_of(sandbox, redis, clock)
    await bench.apply()
    assert set(bench.at_linq().values()) == {await bench.url(line, 2) for line in LINES}
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_planning_without_redis_is_an_error(sandbox: RunningSandbox, redis_url: str, clock: Clock) -> None:
    async with proxy_to(redis_url) as proxy:
        proxy.shut()
        client = open_redis(proxy.url, 1.0)
        with pytest.raises((RedisError, OSError)):
            await bench_of(sandbox, client, clock).plan()
        await client.aclose()
    assert sandbox.changes == []


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
    mistyped = bench_of(sandbox, redis, clock, f'{LINES_ONLY}lines = ["{LINE}", "+16469999999"]\n{TOPICS}')
    assert actions(await mistyped.apply()) == [("create", "+16469999999", 1, False), ("keep", LINE, 1, True)]
    sandbox.sandbox.state.lines.append("+16469999999")
    await mistyped.apply()
    assert len(bench.at_linq()) == 2
