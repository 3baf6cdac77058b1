"""Reconciling the v2 subscription against the sandbox and a real Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from relay.bootstrap.looks import Looks
from relay.bootstrap.plan import Action
from relay.bootstrap.v2_reconcile import V2_NEEDS, V2DesiredState, V2Reconciler, open_v2_reconciler
from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.core.errors import LinqApiError, SettingsError
from relay.core.secret import SigningSecret
from relay.linq.api.v2 import TOKEN_HEADER, LinqV2Api
from relay.store import keys
from relay.store.driver.client import open_redis
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.v2_secret_marker import V2SecretMarker
from tests.bootstrap.bench import PUBLIC, SEALING_KEY, refuse
from tests.bootstrap.redis_gate import gate_to
from tests.sandbox.api.calling_v2 import URL, subscribe
from tests.sandbox.running import API_KEY, RunningSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web
    from redis.asyncio import Redis

    from relay.bootstrap.reconcile import AppliedStep
    from relay.sandbox.state import V2Subscription

EVENTS = frozenset({"message.received", "chat.created"})
SECRET = "our-own-secret"
RULES = '[linq.v2]\n[[topics]]\nname = "t"\nevents = ["message.received", "chat.created"]\n'


@pytest.fixture
async def api(sandbox: RunningSandbox) -> AsyncIterator[LinqV2Api]:
    async with aiohttp.ClientSession(headers={TOKEN_HEADER: API_KEY}) as session:
        yield LinqV2Api(session, f"{sandbox.url}/v2", pauses=(0, 0))


def reconciler_of(
    api: LinqV2Api, redis: Redis, secret: str = SECRET, events: frozenset[str] = EVENTS, key: str = SEALING_KEY
) -> V2Reconciler:
    desired = V2DesiredState(PUBLIC, events, SigningSecret(secret))
    return V2Reconciler(api, V2SecretMarker(redis, Cipher(key)), Looks(redis, "v2", time.time), desired)


@pytest.fixture
def reconciler(api: LinqV2Api, redis: Redis) -> V2Reconciler:
    return reconciler_of(api, redis)


async def apply(reconciler: V2Reconciler) -> list[tuple[str, str | None, bool]]:
    """Return action, subscription and success of every step, and check that each was reported."""
    reported: list[AppliedStep] = []
    assert await reconciler.apply(reported.append) == reported
    return [(result.step.action.value, result.step.subscription_id, result.error is None) for result in reported]


def at_linq(sandbox: RunningSandbox) -> list[V2Subscription]:
    return list(sandbox.sandbox.state.v2_subscriptions.values())


# --- Registration and convergence ---------------------------------------------------------------------


async def test_subscription_is_created_with_our_secret(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    assert await apply(reconciler) == [("create", None, True)]
    (made,) = at_linq(sandbox)
    assert (made.webhook_url, set(made.events), made.secret, made.active) == (URL, set(EVENTS), SECRET, True)


async def test_planning_has_no_side_effects(sandbox: RunningSandbox, reconciler: V2Reconciler, redis: Redis) -> None:
    assert [step.action for step in await reconciler.plan()] == [Action.CREATE]
    assert sandbox.changes == []
    assert await redis.keys() == []


async def test_applying_is_idempotent(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    await apply(reconciler)
    sandbox.calls.clear()
    assert await apply(reconciler) == [("keep", "1", True)]
    assert sandbox.calls == ["GET /v2/webhook_subscriptions"]


async def test_changed_secret_is_sent(
    sandbox: RunningSandbox, api: LinqV2Api, redis: Redis, reconciler: V2Reconciler
) -> None:
    await apply(reconciler)
    changed = reconciler_of(api, redis, secret="a-new-secret")
    (step,) = await changed.plan()
    assert (step.action, step.reason) == (Action.UPDATE, "its secret may be another one")
    assert await apply(changed) == [("update", "1", True)]
    assert at_linq(sandbox)[0].secret == "a-new-secret"
    assert await apply(changed) == [("keep", "1", True)]
    assert await apply(reconciler) == [("update", "1", True)]
    assert at_linq(sandbox)[0].secret == SECRET


async def test_new_sealing_key_sends_the_secret_again(
    sandbox: RunningSandbox, api: LinqV2Api, redis: Redis, reconciler: V2Reconciler
) -> None:
    await apply(reconciler)
    other = reconciler_of(api, redis, key="A" * 43 + "=")
    assert [await apply(other) for _ in range(2)] == [[("update", "1", True)], [("keep", "1", True)]]
    assert at_linq(sandbox)[0].secret == SECRET


async def test_change_at_linq_is_reverted(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    await apply(reconciler)
    (existing,) = at_linq(sandbox)
    for name, value in {"active": False, "events": [], "secret": None, "webhook_url": URL + "?x=1"}.items():
        setattr(existing, name, value)
        assert await apply(reconciler) == [("update", "1", True)]
        assert (existing.webhook_url, set(existing.events), existing.secret, existing.active) == (
            URL,
            set(EVENTS),
            SECRET,
            True,
        )


async def test_changed_events_are_sent(sandbox: RunningSandbox, api: LinqV2Api, redis: Redis) -> None:
    await apply(reconciler_of(api, redis))
    assert await apply(reconciler_of(api, redis, events=frozenset({"call.completed"}))) == [("update", "1", True)]
    assert at_linq(sandbox)[0].events == ["call.completed"]


async def test_deleted_subscription_is_created_again(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    await apply(reconciler)
    sandbox.sandbox.state.v2_subscriptions.clear()
    assert await apply(reconciler) == [("create", None, True)]
    assert await apply(reconciler) == [("keep", "2", True)]


async def test_manually_created_subscription_is_adopted(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    await subscribe(sandbox, secret="by hand", active=False)
    assert await apply(reconciler) == [("update", "1", True)]
    assert [subscription.secret for subscription in at_linq(sandbox)] == [SECRET]


async def test_duplicates_of_our_subscription_are_deleted(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    before = await subscribe(sandbox, webhook_url=URL + "/elsewhere")
    await apply(reconciler)
    for _ in range(2):
        await subscribe(sandbox, secret="by hand")
    assert await apply(reconciler) == [("delete", "3", True), ("delete", "4", True), ("keep", "2", True)]
    assert [(subscription.id, subscription.secret) for subscription in at_linq(sandbox)] == [
        (before["id"], None),
        (2, SECRET),
    ]


async def test_subscriptions_of_others_are_left_alone(sandbox: RunningSandbox, reconciler: V2Reconciler) -> None:
    theirs = [await subscribe(sandbox, webhook_url=f"https://{name}.example.com/webhooks/linq/v2") for name in "ab"]
    await apply(reconciler)
    await apply(reconciler)
    assert [subscription.as_json() for subscription in at_linq(sandbox)[:2]] == theirs
    assert len(at_linq(sandbox)) == 3


async def test_concurrent_applies_create_a_single_subscription(
    sandbox: RunningSandbox, api: LinqV2Api, redis: Redis
) -> None:
    done = await asyncio.gather(*(apply(reconciler_of(api, redis)) for _ in range(3)))
    assert sorted(step for steps in done for step in steps) == [
        ("create", None, True),
        ("keep", "1", True),
        ("keep", "1", True),
    ]
    assert len(at_linq(sandbox)) == 1


# --- Failures -----------------------------------------------------------------------------------------


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
    async with gate_to(redis_url) as gate:
        client = open_redis(gate.url, 1.0)

        async def shut(request: web.Request) -> web.StreamResponse | None:
            if request.method == method:
                gate.shut()
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
    await redis.delete(keys.KEYRING_LOCK)  # its lease would expire seconds later
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
    await redis.delete(keys.KEYRING_LOCK)
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
    async with open_v2_reconciler(settings, redis, parse_config(RULES)) as opened:
        assert await apply(opened) == [("create", None, True)]
    (made,) = at_linq(sandbox)
    assert (made.webhook_url, set(made.events), made.secret) == (URL, set(EVENTS), SECRET)


async def test_missing_settings_are_named_with_their_table(redis: Redis) -> None:
    with pytest.raises(SettingsError, match=r"relay.toml has \[linq.v2\]") as caught:
        await open_v2_reconciler(Settings.load(), redis, parse_config(RULES)).__aenter__()
    assert [problem.place for problem in caught.value.problems] == [need.upper() for need in V2_NEEDS]


@pytest.mark.parametrize("base_url", ["https://api.linqapp.com/api/partner/v2", "http://127.0.0.1:4010/v2"])
async def test_plain_http_is_only_for_a_local_linq(redis: Redis, base_url: str) -> None:
    settings = settings_for(base_url, relay_public_url="http://127.0.0.1:8080")
    opening = open_v2_reconciler(settings, redis, parse_config(RULES))
    if "127.0.0.1" in base_url:
        async with opening:
            return
    with pytest.raises(SettingsError, match=r"RELAY_PUBLIC_URL.*must be https"):
        await opening.__aenter__()


async def test_wrong_token_is_named(sandbox: RunningSandbox, redis: Redis) -> None:
    settings = settings_for(f"{sandbox.url}/v2", linq_v2_token=SecretStr("wrong-token"))
    async with open_v2_reconciler(settings, redis, parse_config(RULES)) as opened:
        with pytest.raises(LinqApiError, match="LINQ_V2_TOKEN") as caught:
            await opened.plan()
    assert "wrong-token" not in str(caught.value)
