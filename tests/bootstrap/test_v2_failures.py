"""Reconciling the v2 subscription while Linq or Redis fails, and its settings."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from relay.bootstrap.needs import V2_NEEDS
from relay.bootstrap.reconciling.v2 import V2Reconciler, open_v2_reconciler
from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.core.errors import LinqApiError, SettingsError
from relay.store.driver.client import open_redis
from tests.bootstrap.bench import PUBLIC, SEALING_KEY, refuse
from tests.bootstrap.redis_proxy import proxy_to
from tests.bootstrap.v2_bench import EVENTS, SECRET, V2_RULES, apply, at_linq, reconciler_of
from tests.sandbox.api.calling_v2 import URL, subscribe
from tests.sandbox.running import API_KEY, RunningSandbox
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from relay.linq.api.v2 import LinqV2Api
    from relay.store.driver.client import Redis


async def test_failed_creation_is_reported_and_retried_next_run(
    sandbox: RunningSandbox, reconciler: V2Reconciler
) -> None:
    sandbox.intercept = refuse("POST")
    (done,) = await reconciler.apply(lambda _: None)
    assert "creating the v2 subscription" in str(done.error)
    assert "(status 500" in str(done.error)
    sandbox.intercept = None
    assert await apply(reconciler) == [("create", None, True)]
    assert await apply(reconciler) == [("keep", "1", True)]


async def test_duplicates_are_kept_while_the_update_fails(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    for _ in range(2):
        await subscribe(sandbox, secret="by hand")
    sandbox.intercept = refuse("PUT")
    assert await apply(reconciler) == [("update", "1", False)]
    assert len(at_linq(sandbox)) == 2
    sandbox.intercept = None
    assert await apply(reconciler) == [("update", "1", True), ("delete", "2", True)]


async def test_undeletable_duplicate_does_not_keep_the_others(
    sandbox: RunningSandbox, reconciler: V2Reconciler
) -> None:
    await apply(reconciler)
    for _ in range(2):
        await subscribe(sandbox)

    async def not_the_second(request: web.Request) -> web.StreamResponse | None:
        return await refuse("DELETE")(request) if request.path.endswith("/2") else None

    sandbox.intercept = not_the_second
    assert await apply(reconciler) == [("delete", "2", False), ("delete", "3", True), ("keep", "1", True)]


async def test_subscription_lost_before_apply_is_created_next_run(
    sandbox: RunningSandbox, reconciler: V2Reconciler
) -> None:
    await subscribe(sandbox)

    async def gone(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PUT":
            sandbox.sandbox.state.v2_subscriptions.clear()
        return None

    sandbox.intercept = gone
    assert await apply(reconciler) == [("update", "1", False)]
    assert await apply(reconciler) == [("create", None, True)]


@asynccontextmanager
async def reconciler_losing_redis_at(
    method: str, sandbox: RunningSandbox, api: LinqV2Api, redis_url: str
) -> AsyncIterator[V2Reconciler]:
    """Run a reconciler whose Redis fails once Linq receives `method`."""
    async with proxy_to(redis_url) as proxy:
        client = open_redis(proxy.url, 1.0)

        async def shut(request: web.Request) -> web.StreamResponse | None:
            if request.method == method:
                proxy.shut()
            return None

        sandbox.intercept = shut
        try:
            yield reconciler_of(api, client)
        finally:
            sandbox.intercept = None
            await client.aclose()


async def test_crash_after_creation_sends_the_secret_again(
    sandbox: RunningSandbox, api: LinqV2Api, redis: Redis, redis_url: str
) -> None:
    async with reconciler_losing_redis_at("POST", sandbox, api, redis_url) as failing:
        assert await apply(failing) == [("create", None, False)]
    await redis.delete(KEYS.keyring_lock)  # its lease would expire seconds later
    assert [await apply(reconciler_of(api, redis)) for _ in range(2)] == [
        [("update", "1", True)],
        [("keep", "1", True)],
    ]


async def test_crash_after_sending_a_secret_forgets_the_old_marker(
    sandbox: RunningSandbox, api: LinqV2Api, redis: Redis, redis_url: str
) -> None:
    await apply(reconciler_of(api, redis, secret="older"))
    async with reconciler_losing_redis_at("PUT", sandbox, api, redis_url) as failing:
        assert await apply(failing) == [("update", "1", False)]
    await redis.delete(KEYS.keyring_lock)
    assert at_linq(sandbox)[0].secret == SECRET
    assert await apply(reconciler_of(api, redis, secret="older")) == [("update", "1", True)]
    assert at_linq(sandbox)[0].secret == "older"


async def test_secret_is_not_in_redis_or_in_the_log(
    sandbox: RunningSandbox, api: LinqV2Api, redis: Redis, reconciler: V2Reconciler
) -> None:
    with capture_logs() as logs:
        await apply(reconciler)
        await apply(reconciler_of(api, redis, events=frozenset({"call.completed"})))
        sandbox.intercept = refuse("PUT")
        await apply(reconciler)
    assert [(row["log_level"], row["action"]) for row in logs] == [
        ("info", "create"),
        ("info", "update"),
        ("error", "update"),
    ]
    noted: Any = [await redis.get(key) for key in await redis.keys()]
    for secret in (SECRET, API_KEY):
        assert secret not in str(logs)
        assert secret not in str(noted)


# --- Settings -----------------------------------------------------------------------------------------


def settings_for(base_url: str, **more: Any) -> Settings:
    return Settings.load().model_copy(
        update={
            "relay_public_url": PUBLIC,
            "relay_secret_key": SecretStr(SEALING_KEY),
            "linq_v2_token": SecretStr(API_KEY),
            "linq_v2_webhook_secret": SecretStr(SECRET),
            "linq_v2_base_url": base_url,
            **more,
        }
    )


async def test_settings_configure_the_reconciler(sandbox: RunningSandbox, redis: Redis) -> None:
    settings = settings_for(f"{sandbox.base_url}/v2")
    async with open_v2_reconciler(settings, redis, parse_config(V2_RULES)) as opened:
        assert await apply(opened) == [("create", None, True)]
    (made,) = at_linq(sandbox)
    assert (made.webhook_url, set(made.events), made.secret) == (URL, set(EVENTS), SECRET)


async def test_missing_settings_are_named_with_their_table(redis: Redis) -> None:
    with pytest.raises(SettingsError, match=r"relay.toml has \[linq.v2\]") as caught:
        await open_v2_reconciler(Settings.load(), redis, parse_config(V2_RULES)).__aenter__()
    assert [problem.place for problem in caught.value.problems] == [need.upper() for need in V2_NEEDS]


@pytest.mark.parametrize("base_url", ["https://api.linqapp.com/api/partner/v2", "http://127.0.0.1:4010/v2"])
async def test_plain_http_is_only_for_a_local_linq(redis: Redis, base_url: str) -> None:
    settings = settings_for(base_url, relay_public_url="http://127.0.0.1:8080")
    opening = open_v2_reconciler(settings, redis, parse_config(V2_RULES))
    if "127.0.0.1" in base_url:
        async with opening:
            return
    with pytest.raises(SettingsError, match=r"RELAY_PUBLIC_URL.*must be https"):
        await opening.__aenter__()


async def test_wrong_token_is_named(sandbox: RunningSandbox, redis: Redis) -> None:
    settings = settings_for(f"{sandbox.url}/v2", linq_v2_token=SecretStr("wrong-token"))
    async with open_v2_reconciler(settings, redis, parse_config(V2_RULES)) as opened:
        with pytest.raises(LinqApiError, match="LINQ_V2_TOKEN") as caught:
            await opened.plan()
    assert "wrong-token" not in str(caught.value)
