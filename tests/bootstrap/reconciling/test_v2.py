"""Reconciling the v2 subscription against the sandbox and a real Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay.bootstrap.plan import Action
from tests.bootstrap.v2_bench import EVENTS, SECRET, apply, at_linq, reconciler_of
from tests.sandbox.api.calling_v2 import URL, subscribe

if TYPE_CHECKING:
    from relay.bootstrap.reconciling.v2 import V2Reconciler
    from relay.linq.api.v2 import LinqV2Api
    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox


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
