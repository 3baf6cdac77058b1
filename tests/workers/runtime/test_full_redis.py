"""A worker that starts while Redis is at `maxmemory`: what was accepted is routed, delivered and trimmed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from arq.worker import Worker
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT, ask
from relay.store.ledger.ledger import Ledger
from relay.store.sharding.shards import open_shards
from tests.accepting import accepting
from tests.building import webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, accept, rules_for
from tests.workers.runtime.test_runner import worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.settings import Settings
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink

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


@pytest.mark.parametrize("number", [1, 4])
async def test_accepted_events_are_delivered_from_a_cold_start(
    redis_url: str, settings: Settings, sink: Sink, number: int
) -> None:
    webhooks = [webhook_of() for _ in range(EVENTS)]
    settings = settings.model_copy(update={"relay_shards": number})
    async with open_shards(redis_url, WORKER_TIMEOUT, count=number) as shards:
        async with accepting(shards.all) as acceptor:
            await asyncio.gather(*map(acceptor.accept, webhooks))
        with capture_logs() as logs:
            async with full(shards.home), worker(settings):
                await eventually(lambda: len(sink.received) == 2 * EVENTS)
                await eventually(lambda: balanced(shards.home))
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
    lease = redis.key.lease(wakeups.route(redis.key).job_id)
    async with worker(settings, replace(TIMINGS, arq_lock=600.0)):  # for which arq would wait if it stayed
        async with full(redis):
            await eventually(lambda: len(sink.received) >= 2)
            former = await redis.get(lease)

        async def is_taken_over() -> bool:
            return await redis.get(lease) not in {None, former}

        await eventually(is_taken_over)
        await accept(redis, webhook_of())
        await eventually(lambda: len(sink.received) == 4)
        await eventually(lambda: arq_is_at_work(redis))


async def test_arq_is_not_started_while_there_is_no_memory(
    redis: Redis, settings: Settings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would only fail, and its listener may end five seconds later."""
    begun: list[str] = []

    async def main(worker: Worker) -> None:
        begun.append(worker.queue_name)
        await asyncio.Event().wait()

    monkeypatch.setattr(Worker, "main", main)
    await accept(redis, webhook_of())
    async with worker(settings):
        async with full(redis):
            pass
        await eventually(lambda: len(begun) == 2)
    begun.clear()
    async with full(redis), worker(settings):
        await eventually(lambda: len(sink.received) == 2)
        assert begun == []


async def test_workers_that_start_together_share_the_partitions(redis: Redis, settings: Settings) -> None:
    async with full(redis), worker(settings) as first, worker(settings) as second:

        async def partitions_of_each() -> tuple[int, int] | None:
            numbers = len(first.partition_worker.draining), len(second.partition_worker.draining)
            return numbers if sum(numbers) == wakeups.PARTITIONS else None

        assert min(await eventually(partitions_of_each)) >= wakeups.PARTITIONS // 4


async def test_slow_subscriber_does_not_hold_up_the_others_once_there_is_memory(
    redis: Redis, settings: Settings, sink: Sink
) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        if received.path == "/bot":
            await released.wait()
        return web.Response(status=204)

    released, sink.answer = asyncio.Event(), answer
    assert wakeups.partition_of("bot") != wakeups.partition_of("crm")
    await accept(redis, webhook_of())
    with capture_logs() as logs:
        async with worker(settings):
            async with full(redis):
                await eventually(lambda: len(sink.received) == 2)
            await eventually(lambda: arq_is_at_work(redis))
            await accept(redis, webhook_of())
            await eventually(lambda: len(sink.ids("/crm")) == 2)
            assert not any(line["event"] == "delivery.attempted" and line["subscription"] == "bot" for line in logs)
            released.set()
            await eventually(lambda: len(sink.ids("/bot")) == 2)


async def arq_is_at_work(redis: Redis) -> bool:
    return bool(await ask(redis.exists("relay:arq:health-check")))


async def balanced(redis: Redis) -> bool:
    ledger = Ledger(redis)
    totals, lanes = await ledger.totals(), await ledger.lanes()
    return totals.balances and all(lane.balances and lane.delivered == EVENTS for lane in lanes)
