"""Rotation: new secrets overlap with the old ones, and no event is refused at any time."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from relay.bootstrap.looks import Looks
from relay.bootstrap.plan import Action
from relay.bootstrap.reconciling.v3 import Reconciler
from relay.config.settings import Settings
from relay.core.config.relay_toml import parse_config
from relay.core.errors import LinqApiError, StoreError
from relay.ingress_parts import ingress_parts
from relay.linq.api.v3 import LinqApi
from relay.process.tasks import end_task
from relay.process.timings import Timings
from relay.sandbox.app import Emission
from relay.store.driver import lock
from relay.store.keyring.encryption import Cipher
from relay.store.keyring.keyring import STRAGGLERS, Keyring
from relay.web.health import Readiness
from relay.web.server import listening_for_webhooks
from tests.bootstrap.bench import LINES_ONLY, SEALING_KEY, SUBSCRIPTIONS, Bench, actions, bench_of, refuse
from tests.sandbox.running import ANY_PORT, LINE, LINES, OTHER_LINE, RunningSandbox, running_sandbox
from tests.support import KEYS, eventually

if TYPE_CHECKING:
    from relay.store.driver.client import Redis
    from tests.support import Clock


async def test_rotation_keeps_the_old_secret_during_overlap(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    before = bench.at_linq()
    assert actions(await bench.reconciler.rotate(None, 60.0, bench.reported.append)) == sorted(
        [*(("create", line, 2, True) for line in LINES), *(("retire", line, 1, True) for line in LINES)]
    )
    assert before.items() <= bench.at_linq().items()
    assert await bench.secrets() == bench.secrets_at_linq()
    assert len(bench.at_linq()) == 2 * len(LINES)

    clock.now += 59
    assert {step.action for step in await bench.plan()} == {Action.KEEP}
    clock.now += 2
    await bench.apply()
    assert set(bench.at_linq().values()) == {await bench.url(line, 2) for line in LINES}
    assert before.keys() <= (await bench.secrets()).keys()  # webhooks signed with them may still be in flight
    clock.now += STRAGGLERS
    await bench.apply()
    assert await bench.secrets() == bench.secrets_at_linq()


async def test_only_named_lines_are_rotated(bench: Bench) -> None:
    await bench.apply()
    results = await bench.reconciler.rotate([OTHER_LINE], 60.0, bench.reported.append)
    assert actions(results) == [("create", OTHER_LINE, 2, True), ("retire", OTHER_LINE, 1, True)]


async def test_line_without_a_secret_is_named(bench: Bench) -> None:
    with pytest.raises(StoreError, match=r"no secret in use to rotate for \+16465550123, .*apply first"):
        await bench.reconciler.rotate(None, 60.0, bench.reported.append)
    await bench.apply()
    with pytest.raises(StoreError, match=r"^\+16465559999: not among the lines configured in \[linq\]"):
        await bench.reconciler.rotate(["+16465559999"], 60.0, bench.reported.append)
    assert len(bench.at_linq()) == len(LINES)


async def test_failed_rotation_keeps_the_old_secret(bench: Bench, clock: Clock) -> None:
    await bench.apply()
    bench.sandbox.intercept = refuse("POST", LINE)
    results = await bench.reconciler.rotate(None, 0.0, bench.reported.append)
    assert ("create", LINE, 2, False) in actions(results)
    assert ("retire", LINE, 1, True) not in actions(results)
    bench.sandbox.intercept = None
    clock.now += 1
    await bench.apply()
    assert await bench.url(LINE, 1) in bench.at_linq().values()
    assert await bench.url(OTHER_LINE, 1) not in bench.at_linq().values()


async def test_rotation_under_traffic_refuses_no_event(redis: Redis, redis_url: str) -> None:
    settings = Settings(redis_url=redis_url, relay_secret_key=SecretStr(SEALING_KEY))
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(running_sandbox())
        parts = await stack.enter_async_context(ingress_parts(settings))
        listening = listening_for_webhooks(parts, Readiness(parts), ANY_PORT, timings=Timings(drain_idle=0.02))
        port = await stack.enter_async_context(listening)
        config = parse_config(LINES_ONLY + '[[topics]]\nname = "all"\nevents = ["message.*"]\n')
        keyring = Keyring(redis, Cipher(SEALING_KEY))
        public_url = f"http://127.0.0.1:{port}"
        looks = Looks(redis, "v3", time.time)
        reconciler = Reconciler(LinqApi(sandbox.client), keyring, looks, config, public_url, time.time)
        await reconciler.apply(lambda _: None)
        traffic = asyncio.create_task(send_traffic(sandbox))
        for _ in range(2):
            seen = len(sandbox.log)
            await reconciler.rotate(None, 0.2, lambda _: None)
            await eventually(partial(has_sent, sandbox, seen + 50))
            await asyncio.sleep(max(record.retire_at or 0 for record in await keyring.records()) + 1 - time.time())
            await reconciler.apply(lambda _: None)
            assert len(sandbox.sandbox.state.subscriptions) == len(LINES)
        seen = len(sandbox.log)
        await eventually(partial(has_sent, sandbox, seen + 50))
        await end_task(traffic)
        deliveries = await sandbox.settled()

    statuses = {attempt.status for delivery in deliveries for attempt in delivery.attempts}
    assert statuses <= {200, 503}
    at_once = {delivery.event_id for delivery in deliveries if delivery.attempts and delivery.attempts[0].status == 200}
    assert at_once == {delivery.event_id for delivery in deliveries}  # either secret was known at any time
    assert await redis.xlen(KEYS.inbox) == len(at_once)


def has_sent(sandbox: RunningSandbox, count: int) -> bool:
    return len(sandbox.log) > count


async def send_traffic(sandbox: RunningSandbox) -> None:
    """Send events of every line in turn, forever."""
    for line in itertools.cycle(LINES):
        sandbox.sandbox.emit(Emission(type="message.received", line=line))
        await asyncio.sleep(0.003)


# --- Locking ------------------------------------------------------------------------------------------


async def test_concurrent_applies_do_not_conflict(sandbox: RunningSandbox, redis: Redis, clock: Clock) -> None:
    benches = [bench_of(sandbox, redis, clock) for _ in range(4)]
    results = await asyncio.gather(*(bench.apply() for bench in benches))
    assert sandbox.changes == [f"POST {SUBSCRIPTIONS}"] * len(LINES)
    assert sorted({result.step.action for applied in results for result in applied}) == [Action.CREATE, Action.KEEP]
    assert all(result.error is None for applied in results for result in applied)
    assert await benches[0].secrets() == benches[0].secrets_at_linq()


async def test_lock_timeout_names_the_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch, redis: Redis) -> None:
    monkeypatch.setattr(lock, "TIMEOUT", 0.1)
    await redis.set(KEYS.keyring_lock, "somebody else")
    with pytest.raises(StoreError, match=r"another bootstrap .* has been running"):
        await bench.apply()
    assert bench.sandbox.changes == []


async def test_registration_of_many_lines_limits_concurrency(redis: Redis, clock: Clock) -> None:
    lines = [f"+1646555{number:04}" for number in range(100)]
    now, most = 0, 0
    async with running_sandbox(lines, allow_local=False) as sandbox:
        bench = bench_of(sandbox, redis, clock)

        async def count(_: object) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

        sandbox.intercept = count
        results = await bench.apply()
        assert len(results) == len(bench.at_linq()) == len(lines)
        assert await bench.secrets() == bench.secrets_at_linq()
        assert 1 < most <= 8
        assert {result.step.action for result in await bench.apply()} == {Action.KEEP}


# --- Selected lines and events ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "registered"),
    [
        ('lines = ["+16465550124"]', {OTHER_LINE}),
        ('exclude = ["+16465550124", "+16465550125"]', {LINE}),
        ('events = ["message.sent"]', set(LINES)),
    ],
)
async def test_relay_toml_selects_the_lines(
    sandbox: RunningSandbox, redis: Redis, clock: Clock, table: str, registered: set[str]
) -> None:
    rules = f'{LINES_ONLY}{table}\n[[topics]]\nname = "all"\nevents = ["message.*"]\n'
    bench = bench_of(sandbox, redis, clock, rules)
    assert {result.step.line for result in await bench.apply()} == registered
    if table.startswith("events"):
        assert {tuple(subscription.events) for subscription in sandbox.sandbox.state.subscriptions.values()} == {
            ("message.sent",)
        }


async def test_excluding_every_line_is_an_error_and_deletes_nothing(
    sandbox: RunningSandbox, redis: Redis, clock: Clock
) -> None:
    lines = ", ".join(f'"{line}"' for line in LINES)
    bench = bench_of(sandbox, redis, clock, f'[linq]\nexclude = [{lines}]\n[[topics]]\nname = "x"\nevents = ["*"]\n')
    with pytest.raises(LinqApiError, match="every line"):
        await bench.apply()
