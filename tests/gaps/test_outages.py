"""Outages: noted by an ingress that is back, and filled by a worker once Linq has given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from relay.config.settings import Settings
from relay.process.lifecycle import Lifecycle
from relay.process.timings import Timings
from relay.store.driver.client import ask
from relay.store.fleet.processes import Reporter
from relay.store.gaps.outages import Outage, pending_outage
from relay.store.gaps.walk_record import WalkRecord
from tests.gaps.stage import HOUR_MS, RULES, Stage, messages_in, stage_of
from tests.sandbox.running import API_KEY, RunningSandbox, running_sandbox
from tests.support import KEYS, Clock
from workers.maintenance.backfill.backfiller import Backfiller

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from relay.store.driver.client import Redis

LINQ = "[linq]\nbackfill = true\n"


async def report(redis: Redis, *, accepts: bool = True) -> None:
    await Reporter(redis, "ingress", Lifecycle(), list, Timings(), dedupe_window=60.0 if accepts else None).report()


async def test_a_long_silence_of_the_ingress_is_an_outage(redis: Redis) -> None:
    await report(redis)
    assert await pending_outage(redis) is None
    now = round(time.time() * 1000)
    for ago, outage_from in ((1_000_000, None), (1_600_000, now - 1_600_000), (2_000_000, now - 1_600_000)):
        await ask(redis.hset(KEYS.gaps, "answered_at", str(now - ago)))
        await report(redis, accepts=False)
        kept: Any = await ask(redis.hget(KEYS.gaps, "answered_at"))
        assert kept == str(now - ago).encode(), "a worker accepts nothing"
        await report(redis)
        found = await pending_outage(redis)
        assert (found and found.from_ms) == outage_from
        if found:
            assert found.to_ms >= now


def backfiller_of(stage: Stage, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Backfiller:
    monkeypatch.setenv("LINQ_API_V3_API_KEY", API_KEY)
    monkeypatch.setenv("LINQ_API_V3_BASE_URL", stage.sandbox.base_url)
    return Backfiller(stage.redis, stage.file, Settings.load(), clock)


async def note(redis: Redis, outage: Outage) -> None:
    await ask(redis.hset(KEYS.gaps, mapping={"outage_from": outage.from_ms, "outage_to": outage.to_ms}))


async def test_a_worker_fills_an_outage_half_an_hour_later(
    redis: Redis, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(time.time())
    async with stage_of(redis, sandbox, tmp_path, LINQ + RULES) as stage:
        made = stage.outage(messages=20, chats=2, seconds=3000)
        backfiller = backfiller_of(stage, monkeypatch, clock)
        now = round(clock.now * 1000)
        await note(redis, Outage(now - HOUR_MS, now))
        await backfiller.check()
        assert await WalkRecord(redis).read() is None, "Linq may still deliver"
        clock.now += 1801
        await backfiller.check()
        assert messages_in(await stage.routed()) == sorted(scenario.message_id for _, scenario in made)
        assert await pending_outage(redis) is None
        calls = len(sandbox.calls)
        await backfiller.check()
        assert len(sandbox.calls) == calls


async def test_an_account_that_fails_does_not_hold_up_the_others(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, accounts = Clock(time.time()), '\n[[linq.accounts]]\nname = "sales"\nkey = "file:sales.key"\n'
    async with (
        running_sandbox(accounts={"sales-key": ["+16465550126"]}) as sandbox,
        stage_of(redis, sandbox, tmp_path, LINQ + accounts + RULES) as stage,
    ):
        made = stage.outage(messages=20, chats=5, seconds=3000)
        monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "relay.toml"))
        backfiller = backfiller_of(stage, monkeypatch, clock)
        now = round(clock.now * 1000)
        await note(redis, Outage(now - HOUR_MS, now))
        clock.now += 1801
        await backfiller.check()
        of_first = [scenario.message_id for _, scenario in made if scenario.line != "+16465550126"]
        assert 0 < len(of_first) < 20
        assert messages_in(await stage.routed()) == sorted(of_first)
        assert await pending_outage(redis) is not None, "the key of sales is missing"

        (tmp_path / "sales.key").write_text("sales-key")
        calls = len(sandbox.calls)
        await backfiller.check()
        assert len(messages_in(await stage.routed())) == 20
        assert await pending_outage(redis) is None
        assert len([call for call in sandbox.calls[calls:] if "phone_numbers" in call]) == 1, (
            "only of the one that failed"
        )


async def test_without_the_key_nothing_is_filled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    backfiller = backfiller_of(stage, monkeypatch, Clock(time.time() + 7200))
    await note(stage.redis, Outage(1, 2))
    await backfiller.check()
    assert not stage.sandbox.calls
    assert await pending_outage(stage.redis) is not None


async def test_an_outage_before_the_index_is_given_up(
    redis: Redis, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage_of(redis, sandbox, tmp_path, LINQ + RULES) as stage:
        now = round(time.time() * 1000)
        await ask(redis.hset(KEYS.gaps, "began", str(now)))
        await note(redis, Outage(now - 3 * HOUR_MS, now - 2 * HOUR_MS))
        await backfiller_of(stage, monkeypatch, Clock(time.time())).check()
        assert await pending_outage(redis) is None


async def test_a_failing_linq_is_asked_again_by_the_next_check(
    redis: Redis, sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage_of(redis, sandbox, tmp_path, LINQ + RULES) as stage:
        now = round(time.time() * 1000)
        await note(redis, Outage(now - 2 * HOUR_MS, now - HOUR_MS))
        await sandbox.fault("api_error", status=429, retry_after=3600, path="/v3/phone_numbers", count=1)
        backfiller = backfiller_of(stage, monkeypatch, Clock(time.time()))
        await backfiller.check()
        assert await pending_outage(redis) is not None
        await backfiller.check()
        assert await pending_outage(redis) is None
