"""Gaps and backfills as metrics: what the last run of each account left, the runs so far, and an outage that waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from relay.gaps.run import settle_outage
from relay.metrics.process_metrics import ProcessMetrics
from relay.store.driver.client import ask
from relay.store.gaps.outages import pending_outage
from relay.store.gaps.walk_record import LineFindings, Mode, Walk, WalkRecord, WalkState
from relay.store.state.reader import RedisReader
from tests.building import LINE, config_of
from tests.metrics.scrapes import Series, scraped
from tests.support import KEYS

if TYPE_CHECKING:
    from relay.core.config.relay_toml import RelayConfig
    from relay.store.driver.client import Redis

HOUR = 3_600_000
ENDS = [(end, run) for end in ("done", "failed") for run in ("gaps", "backfill")]
SALES = '[[linq.accounts]]\nname = "sales"\nkey = "env:SALES_KEY"\n'


async def read(redis: Redis) -> Series:
    """Return the series of one reading that are about gaps, and those of backfills."""

    async def rules() -> RelayConfig:
        return config_of(SALES)

    metrics = ProcessMetrics("admin")
    metrics.add_reader(RedisReader(redis, rules))
    found = await scraped(metrics)
    return {name.removeprefix("relay_"): found[name] for name in found if "gap" in name or "backfill" in name}


async def walked(
    redis: Redis, mode: Mode, account: str | None = None, state: WalkState = WalkState.DONE, **found: int
) -> None:
    """Record a walk through the last three hours that ended a minute ago."""
    now = round(time.time() * 1000)
    put: dict[str, Any] = {name: found.pop(name) for name in ("put", "before", "meanwhile") if name in found}
    walk = Walk("w", mode, now - 3 * HOUR, now, [LINE], now - HOUR, account=account, at_ms=now - 60_000, **put)
    walk.findings[LINE] = LineFindings(**found)
    record = WalkRecord(redis, account)
    await record.begin(walk)
    if "put" in put:
        await ask(redis.hset(KEYS.walk(account=account), "put", str(put["put"])))
    walk.state = state
    assert await record.save(walk)


async def outage(redis: Redis, began: float, ended: float) -> None:
    """Note an outage, hours ago."""
    now = round(time.time() * 1000)
    times = {"outage_from": str(now - round(began * HOUR)), "outage_to": str(now - round(ended * HOUR))}
    await ask(redis.hset(KEYS.gaps, mapping=times))


async def test_last_runs_and_those_so_far(redis: Redis) -> None:
    nothing = dict.fromkeys((f'gap_runs_total{{end="{end}",run="{run}"}}' for end, run in ENDS), 0.0)
    assert await read(redis) == {**nothing, "backfilled_events_total": 0}
    await walked(redis, Mode.LOOK, messages=50, missing=9, untaken=2)
    await walked(redis, Mode.FILL, "sales", WalkState.FAILED, missing=9, put=4, before=1, meanwhile=1)
    await ask(redis.hset(KEYS.counts, "backfilled", "4"))
    found = await read(redis)
    last = {name: found.pop(name) for name in list(found) if "timestamp" in name}
    assert found == {
        **nothing,
        'gap_runs_total{end="done",run="gaps"}': 1,
        'gap_runs_total{end="failed",run="backfill"}': 1,
        "backfilled_events_total": 4,
        "gap_messages_missing": 7,
        'gap_messages_missing{account="sales"}': 3,
        'gap_last_run_failed{run="gaps"}': 0,
        'gap_last_run_failed{account="sales",run="backfill"}': 1,
    }
    assert {name: time.time() - at < 300 for name, at in last.items()} == {
        'gap_last_run_timestamp_seconds{run="gaps"}': True,
        'gap_last_run_timestamp_seconds{account="sales",run="backfill"}': True,
    }


async def test_a_killed_run_has_failed_once_it_gets_no_further(redis: Redis) -> None:
    failed = 'gap_last_run_failed{run="gaps"}'
    now = round(time.time() * 1000)
    for age, expected in ((60_000, 0), (HOUR, 1)):
        await WalkRecord(redis).begin(Walk("w", Mode.LOOK, 0, now, [LINE], now - HOUR, at_ms=now - age))
        assert (await read(redis))[failed] == expected


async def test_failed_run_does_not_hide_messages_left_by_the_last_one(redis: Redis) -> None:
    now, missing = round(time.time() * 1000), "gap_messages_missing"
    await walked(redis, Mode.LOOK, missing=9, untaken=2)
    left = await WalkRecord(redis).read()
    assert left is not None
    begun = Walk("w", Mode.FILL, 0, now, [LINE], now, left_before=left.left)
    await WalkRecord(redis).begin(begun)
    found = await read(redis)
    assert found[missing] == 7
    assert time.time() - found['gap_last_run_timestamp_seconds{run="backfill"}'] < 300
    begun.state, begun.put = WalkState.FAILED, 3
    await WalkRecord(redis).save(begun)
    await ask(redis.hset(KEYS.walk(), "put", "3"))
    assert (await read(redis))[missing] == 4
    begun.state = WalkState.DONE
    await WalkRecord(redis).save(begun)
    assert (await read(redis))[missing] == 0


async def test_an_outage_is_settled_by_runs_of_every_account_that_leave_nothing(redis: Redis) -> None:
    accounts = (None, "sales")
    assert not await settle_outage(redis, accounts)
    await outage(redis, 2, 1)
    assert time.time() - (await read(redis))["outage_not_backfilled_timestamp_seconds"] == pytest.approx(3600, abs=60)
    await walked(redis, Mode.LOOK, missing=2, untaken=2)
    assert not await settle_outage(redis, accounts)
    assert await settle_outage(redis, (None,))
    runs: tuple[tuple[int, dict[str, Any]], ...] = (
        (2, {"missing": 2, "put": 1}),
        (4, {"missing": 2, "put": 2}),
        (2, {"missing": 2, "put": 2}),
    )
    for begun, found in runs:
        await outage(redis, begun, 1)
        await walked(redis, Mode.FILL, "sales", **found)
        is_settled = (begun, found["put"]) == (2, 2)
        assert await settle_outage(redis, accounts) is is_settled
        assert (await pending_outage(redis) is None) is is_settled
    await outage(redis, 2, 1)
    now = round(time.time() * 1000)
    part = Walk("w", Mode.FILL, now - 3 * HOUR, now, [LINE], now, all_lines=False, state=WalkState.DONE)
    await WalkRecord(redis).begin(part)
    assert not await settle_outage(redis, (None,))
