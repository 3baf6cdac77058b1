"""A second relay with a copied `.env`, a Redis that lost its data, and subscriptions of older releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.bootstrap.deletions import Approval
from relay.bootstrap.ownership.rivals import rivals_of
from relay.bootstrap.plan import Action
from relay.core.errors import AnotherRelay, StoreError
from relay.linq.target_urls import target_url
from relay.store.driver.client import open_redis
from tests.bootstrap.bench import PUBLIC, Bench, actions, bench_of, refuse
from tests.bootstrap.building import FOREIGN_URLS, subscription
from tests.sandbox.running import LINE, LINES, OTHER_LINE
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.linq.api.v3 import LinqSubscription
    from tests.sandbox.running import RunningSandbox
    from tests.support import Clock

TAG, OTHER_TAG = "0a1b2c3d", "4e5f6071"
WELCOME = "https://welcome.linqapp.com/webhooks/linq?version=2026-02-03"


@pytest.fixture
async def second(sandbox: RunningSandbox, redis_url: str, clock: Clock) -> AsyncIterator[Bench]:
    """A relay with the same URL and key at Linq, and keys of its own in Redis."""
    redis = open_redis(redis_url, 5.0, "second")
    yield bench_of(sandbox, redis, clock)
    await redis.aclose()


def made(subscription_id: str, tag: str | None, line: str = LINE) -> LinqSubscription:
    return subscription(subscription_id, line, url=target_url(PUBLIC, line, 1, tag))


@pytest.mark.parametrize(
    ("there", "held", "rivals"),
    [
        ([made("s-1", TAG)], [], []),
        ([made("s-1", OTHER_TAG)], ["s-1"], []),
        ([made("s-1", OTHER_TAG)], [], ["s-1"]),
        ([made("s-1", TAG), made("s-2", OTHER_TAG, OTHER_LINE)], ["s-1"], ["s-2"]),
        ([made("s-1", None)], [], ["s-1"]),
        ([made("s-1", None)], ["gone"], ["s-1"]),
        ([made("s-1", None), made("s-2", None, OTHER_LINE)], ["s-2"], []),
        ([subscription(url=url) for url in (*FOREIGN_URLS, WELCOME)], [], []),
        ([subscription(url=f"{PUBLIC}/webhooks/linq?line=nobody")], [], []),
    ],
)
def test_ours_by_secret_or_by_tag(there: list[LinqSubscription], held: list[str], rivals: list[str]) -> None:
    assert [rival.subscription_id for rival in rivals_of(PUBLIC, TAG, there, held)] == rivals


async def test_copied_env_changes_nothing_at_linq(bench: Bench, second: Bench) -> None:
    await bench.apply()
    before = bench.at_linq()
    bench.sandbox.calls.clear()
    for approval in Approval:
        with pytest.raises(AnotherRelay, match=r"3 subscriptions .*another Redis.*--take-over"):
            await second.apply(approval)
    with pytest.raises(AnotherRelay):
        await second.reconciler.rotate(None, 0.0, lambda _: None)
    steps = await second.plan()
    assert {(step.action, step.line) for step in steps} == {(Action.HOLD, line) for line in LINES}
    assert "--take-over" in second.reconciler.notes[-1]
    assert (bench.sandbox.changes, bench.at_linq()) == ([], before)


async def test_take_over_replaces_every_subscription_once(bench: Bench, second: Bench) -> None:
    await bench.apply()
    welcome = await bench.sandbox.subscribe(WELCOME)
    assert all(result.error is None for result in await second.apply(take_over=True))
    ours = {url for subscription_id, url in second.at_linq().items() if subscription_id != welcome.id}
    assert ours == {await second.url(line, 2) for line in LINES}
    assert welcome.id in second.at_linq()
    assert {step.action for step in await second.plan()} == {Action.KEEP}
    with pytest.raises(AnotherRelay):  # the first one does not take them back by itself
        await bench.apply(Approval.SCHEDULED)


async def test_take_over_that_failed_midway_goes_on(bench: Bench, second: Bench) -> None:
    await bench.apply()
    second.sandbox.intercept = refuse("POST", LINE)
    assert ("create", LINE, 2, False) in actions(await second.apply(take_over=True))
    second.sandbox.intercept = None
    with pytest.raises(AnotherRelay, match=rf"1 subscription .*{LINE.removeprefix('+')}"):
        await second.apply()
    await second.apply(take_over=True)
    assert set(second.at_linq().values()) == {await second.url(line, 2) for line in LINES}


async def test_lost_redis_has_to_be_said(bench: Bench) -> None:
    await bench.apply()
    await bench.redis.flushall()
    with pytest.raises(AnotherRelay, match="this Redis has lost its data"):
        await bench.apply()
    await bench.apply(take_over=True)
    assert set(bench.at_linq().values()) == {await bench.url(line, 2) for line in LINES}


async def make_as_an_older_release(bench: Bench) -> None:
    """Leave subscriptions without a tag, and a Redis without one."""
    await bench.apply()
    for there in bench.sandbox.sandbox.state.subscriptions.values():
        there.target_url = there.target_url.partition("&owner=")[0]
    await bench.redis.delete(KEYS.linq_owner)


async def test_older_subscriptions_get_the_tag_without_loss(bench: Bench) -> None:
    await make_as_an_older_release(bench)
    before = bench.secrets_at_linq()
    assert {step.action for step in await bench.plan()} == {Action.KEEP}, "no drift before the first apply"
    bench.sandbox.intercept = refuse("PUT", LINE)
    assert {(action, line, is_done) for action, line, _, is_done in actions(await bench.apply())} == {
        ("update", line, line != LINE) for line in LINES
    }
    bench.sandbox.intercept = None
    assert ("update", LINE, 1, True) in actions(await bench.apply())
    assert bench.secrets_at_linq() == before == await bench.secrets()
    assert set(bench.at_linq().values()) == {await bench.url(line, 1) for line in LINES}
    assert {step.action for step in await bench.plan()} == {Action.KEEP}


async def test_older_subscription_half_made_is_replaced_unasked(bench: Bench) -> None:
    await make_as_an_older_release(bench)
    (lost,) = [subscription_id for subscription_id, url in bench.at_linq().items() if LINE.removeprefix("+") in url]
    await bench.keyring.forget(lost)
    await bench.apply()
    assert await bench.url(LINE, 2) in bench.at_linq().values()
    assert lost not in bench.at_linq()


async def test_tag_waits_for_a_url_that_is_taken(bench: Bench) -> None:
    await make_as_an_older_release(bench)
    await bench.keyring.make_owner_tag()
    await bench.sandbox.subscribe(await bench.url(LINE, 1), lines=[LINE])
    assert all(error is None for error in [result.error for result in await bench.apply()])
    await bench.apply()
    assert set(bench.at_linq().values()) == {await bench.url(line, 1) for line in LINES}


async def test_changed_owner_tag_is_an_error(bench: Bench) -> None:
    await bench.redis.set(KEYS.linq_owner, "not a tag")
    with pytest.raises(StoreError, match="relay:linq:owner in Redis is not an owner tag"):
        await bench.apply()
    assert bench.sandbox.changes == []
