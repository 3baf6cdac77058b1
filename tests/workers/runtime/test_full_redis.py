"""A worker that starts while Redis is at `maxmemory`: what was accepted is routed, delivered and trimmed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

from relay.store.driver.client import ask
from relay.store.ledger.ledger import Ledger
from tests.building import webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, accept, rules_for
from tests.workers.runtime.test_runner import worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink

EVENTS = 60


@asynccontextmanager
async def full(redis: Redis) -> AsyncIterator[None]:
    """Redis refuses every write that needs memory."""
    await redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(OutOfMemoryError):
            await redis.set("refused", "")
        yield
    finally:
        await redis.config_set("maxmemory", 0)


async def test_accepted_events_are_delivered_from_a_cold_start(redis: Redis, settings: Settings, sink: Sink) -> None:
    webhooks = [webhook_of() for _ in range(EVENTS)]
    await accept(redis, *webhooks)
    with capture_logs() as logs:
        async with full(redis), worker(settings):
            await eventually(lambda: len(sink.received) == 2 * EVENTS)
            await eventually(lambda: balanced(redis))
    assert sorted(sink.ids("/crm")) == sorted(webhook.id for webhook in webhooks)
    assert any(line["event"] == "worker.without_arq" and "maxmemory" in line["note"] for line in logs)


async def test_a_full_topic_is_trimmed_from_a_cold_start(
    redis: Redis, settings: Settings, sink: Sink, rules_file: Path
) -> None:
    rules_file.write_text(rules_for(sink).replace('events = ["*"]', 'events = ["*"]\nkeep = "1s"'))
    await accept(redis, *(webhook_of() for _ in range(EVENTS)))
    async with full(redis), worker(settings, replace(TIMINGS, trim_while_full=0.1)):
        await eventually(lambda: len(sink.received) == 2 * EVENTS)

        async def trimmed() -> bool:
            return not await redis.xlen(KEYS.topic("everything"))

        await eventually(trimmed)


async def test_arq_takes_over_once_there_is_memory(redis: Redis, settings: Settings, sink: Sink) -> None:
    await accept(redis, webhook_of())
    async with worker(settings):
        async with full(redis):
            await eventually(lambda: len(sink.received) >= 2)
        await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 4)

        async def arq_is_at_work() -> bool:
            return bool(await ask(redis.exists("relay:arq:health-check")))

        await eventually(arq_is_at_work)


async def balanced(redis: Redis) -> bool:
    ledger = Ledger(redis)
    totals, lanes = await ledger.totals(), await ledger.lanes()
    return totals.balances and all(lane.balances and lane.delivered == EVENTS for lane in lanes)
