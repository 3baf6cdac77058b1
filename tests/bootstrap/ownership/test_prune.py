"""`relay bootstrap prune`: what a former RELAY_PUBLIC_URL left at Linq, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.bootstrap.ownership.prune import plan_prune, prune
from relay.bootstrap.plan import Action
from relay.store.keyring.keyring import STRAGGLERS
from tests.bootstrap.bench import PUBLIC, Bench, bench_of
from tests.sandbox.running import LINES, linq_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

    from relay.bootstrap.reconciling.v3 import AppliedStep
    from relay.store.driver.client import Redis
    from tests.sandbox.running import RunningSandbox
    from tests.support import Clock

MOVED = "https://new.example.com/below"
OTHERS = (
    "https://welcome.linqapp.com/webhooks/linq?version=2026-02-03",
    "https://elsewhere.example.com/hook?owner=0a1b2c3d",
    f"{PUBLIC}/webhooks/linq?version=2026-02-03&line=16465550123&gen=9",
)


@pytest.fixture
def moved(sandbox: RunningSandbox, redis: Redis, clock: Clock) -> Bench:
    """The same relay with another RELAY_PUBLIC_URL."""
    return bench_of(sandbox, redis, clock, public_url=MOVED)


async def pruned(bench: Bench, seen: Collection[str]) -> list[AppliedStep]:
    return await prune(bench.account, seen, lambda _: None, lambda _: None)


async def test_leftovers_wait_for_their_successors_and_go(bench: Bench, moved: Bench, clock: Clock) -> None:
    await bench.apply()
    left = set(bench.at_linq())
    await bench.keyring.forget(min(left))  # of this one, only the tag says whose it is
    others = {(await bench.sandbox.subscribe(url)).id for url in OTHERS}
    steps = await plan_prune(moved.account)
    assert {(step.action, step.subscription_id) for step in steps} == {(Action.HOLD, name) for name in left}
    await pruned(moved, left)
    assert left < set(bench.at_linq())

    await moved.apply()
    steps = await plan_prune(moved.account)
    assert {(step.action, step.subscription_id, step.line) for step in steps} == {
        (Action.DELETE, step.subscription_id, step.line) for step in steps if step.subscription_id in left
    }
    assert {step.line for step in steps} == {*LINES}
    results = await pruned(moved, left)
    assert [result.error for result in results] == [None] * len(LINES)
    assert set(moved.at_linq()) & (left | others) == others
    assert {step.action for step in await moved.plan()} == {Action.KEEP}
    clock.now += STRAGGLERS + 1  # events that Linq still repeats are verified until then
    await moved.apply()
    assert set(await moved.secrets()) == set(moved.at_linq()) - others


async def test_failed_deletion_is_repeated_and_only_what_was_seen_goes(bench: Bench, moved: Bench) -> None:
    await bench.apply()
    first, second, third = bench.at_linq()
    await moved.apply()

    async def refuse_one(request: web.Request) -> web.StreamResponse | None:
        is_it = request.method == "DELETE" and request.path.endswith(first)
        return linq_error(500, 3006, "Internal error") if is_it else None

    moved.sandbox.intercept = refuse_one
    results = await pruned(moved, {first, second})
    assert {result.step.subscription_id: result.error is None for result in results} == {first: False, second: True}
    moved.sandbox.intercept = None
    assert {first, third} < set(moved.at_linq())
    await pruned(moved, {first, third})
    assert not {first, second, third} & set(moved.at_linq())


async def test_malformed_one_whose_secret_is_stored_is_left_behind(bench: Bench) -> None:
    await bench.apply()
    bent, *_ = bench.sandbox.sandbox.state.subscriptions.values()
    bent.target_url = bent.target_url.replace("/linq?", "/linq/?")
    (step,) = await plan_prune(bench.account)
    assert (step.subscription_id, step.action) == (bent.id, Action.HOLD)
    await bench.apply()
    (step,) = await plan_prune(bench.account)
    assert (step.subscription_id, step.action) == (bent.id, Action.DELETE)
