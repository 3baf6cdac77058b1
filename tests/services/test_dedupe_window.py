"""The dedupe window that counts: that of the running ingresses, whatever the shell of a command has."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from relay.core.errors import Conflict
from relay.core.event import Dialect
from relay.core.event_filter import EventFilter
from relay.doctor.fleet_checks import examine_fleet
from relay.process.lifecycle import Lifecycle
from relay.process.timings import DEFAULTS
from relay.services.dedupe_window import dedupe_window
from relay.services.operators import growth, quarantine
from relay.services.topics.history.find import claim_on
from relay.store.driver.client import WORKER_TIMEOUT, Redis
from relay.store.fleet.processes import Reporter
from relay.store.inbox.quarantine import Quarantine
from relay.store.sharding.growth.state import note_growth, note_time
from relay.store.sharding.number import require_number_of_shards
from relay.store.sharding.shards import open_shards
from tests.building import LINE, body_of, webhook_of
from tests.services.conftest import OPERATOR
from tests.workers.conftest import accept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.services.context import Context

HOUR, HERE = 3600.0, 6 * 3600.0
HOUR_MS, HERE_MS = 3_600_000, 6 * 3_600_000


@asynccontextmanager
async def ingress(redis: Redis, window: float | None) -> AsyncIterator[None]:
    """Report an ingress with a dedupe window, in seconds."""
    async with Reporter(redis, "ingress", Lifecycle(), list, DEFAULTS, dedupe_window=window):
        yield


@pytest.fixture
async def grown(context: Context, redis_url: str) -> AsyncIterator[Context]:
    """A relay of two shards that has grown from one, two hours ago; the target may be four."""
    async with open_shards(redis_url, WORKER_TIMEOUT, count=1) as former:
        await require_number_of_shards(former.home)
    async with open_shards(redis_url, WORKER_TIMEOUT, count=4) as shards:
        now_ms = context.now_ms
        await note_growth(shards.home, 1, 2, now_ms - 2 * HOUR_MS)
        for step in ("decided", "advanced", "done"):
            await note_time(shards.home, step, now_ms - 2 * HOUR_MS)
        await shards.home.set(shards.home.key.shards, 2)
        yield replace(context, redis=shards.home)


async def test_own_window_counts_without_an_ingress(context: Context) -> None:
    async with Reporter(context.redis, "worker", Lifecycle(), list):
        window = await dedupe_window(context)
    assert (window.ms, window.note) == (HERE_MS, "no ingress runs: RELAY_DEDUPE_WINDOW of this shell counts, 6h")


async def test_window_of_all_is_nothing_to_tell(context: Context) -> None:
    async with ingress(context.redis, HERE), ingress(context.redis, HERE):
        window = await dedupe_window(context)
    assert (window.ms, window.note) == (HERE_MS, "")


@pytest.mark.parametrize("seconds", [HOUR, 24 * HOUR])
async def test_window_of_the_ingresses_counts(context: Context, seconds: float) -> None:
    async with ingress(context.redis, seconds):
        window = await dedupe_window(context)
    assert window.ms == round(seconds * 1000)
    assert window.note == (
        f"RELAY_DEDUPE_WINDOW is {seconds / HOUR:.0f}h at the ingresses and 6h in this shell: "
        "that of the ingresses counts"
    )


async def test_longest_window_counts(context: Context) -> None:
    async with ingress(context.redis, 24 * HOUR), ingress(context.redis, HOUR), ingress(context.redis, HOUR):
        window = await dedupe_window(context)
    assert (window.ms, window.note) == (
        24 * HOUR_MS,
        "RELAY_DEDUPE_WINDOW differs between the ingresses: 1h at 2, 24h at 1; the longest counts",
    )


async def test_ingress_that_does_not_report_it_is_taken_to_have_our_own(context: Context) -> None:
    async with ingress(context.redis, HOUR), ingress(context.redis, None):
        window = await dedupe_window(context)
    assert window.ms == HERE_MS


async def test_growth_waits_for_the_window_of_the_ingresses(grown: Context) -> None:
    short = replace(grown, settings=grown.settings.model_copy(update={"relay_dedupe_window": HOUR}))
    async with ingress(grown.redis, 24 * HOUR):
        state = await growth.state(short, OPERATOR)
        assert state.growth is not None
        assert state.growth.advanced_ms is not None
        assert state.dedupes_until_ms == state.growth.advanced_ms + 24 * HOUR_MS
        assert "24h at the ingresses and 1h in this shell" in state.dedupe_note
        with pytest.raises(Conflict, match="24h at the ingresses and 1h in this shell"):
            await growth.prepare(short, OPERATOR, 4)


async def test_growth_does_not_wait_for_the_window_of_the_shell(grown: Context) -> None:
    async with ingress(grown.redis, HOUR):
        assert (await growth.prepare(grown, OPERATOR, 4)).target == 4


async def test_time_of_acceptance_follows_from_the_window_of_the_ingresses(context: Context) -> None:
    webhook = webhook_of()
    await accept(context.redis, webhook)
    key = context.redis.key.seen_prefix + webhook.id
    await context.redis.pexpire(key, 24 * HOUR_MS - 60_000)
    async with ingress(context.redis, 24 * HOUR):
        claim = await claim_on(context, webhook.id)
    assert claim is not None
    assert 55_000 < context.now_ms - claim.accepted_ms < 120_000


async def test_doctor_names_windows_that_differ(context: Context) -> None:
    async with ingress(context.redis, HOUR), ingress(context.redis, HOUR):
        assert await examine_fleet(context.redis, context.clock()) == []
        async with ingress(context.redis, 24 * HOUR):
            [finding] = await examine_fleet(context.redis, context.clock())
    assert finding.what == "RELAY_DEDUPE_WINDOW differs between the ingresses: 1h, 24h"


async def test_retry_from_the_quarantine_claims_for_the_window_of_the_ingresses(context: Context) -> None:
    event = "of-a-shell"
    await Quarantine(context.redis).put(Dialect.V3, LINE, body_of(event_id=event, chat_id="chat"), "too modern", 1000)
    async with ingress(context.redis, 24 * HOUR):
        assert (await quarantine.retry(context, OPERATOR, EventFilter())).accepted == 1
    assert await context.redis.pttl(context.redis.key.seen_prefix + event) > 23 * HOUR_MS
