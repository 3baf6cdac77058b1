"""Workers with one shard and with four: every event once, in the order of its chat, whichever worker has a shard."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from arq.worker import Worker
from structlog.testing import capture_logs

from relay.store import wakeups
from relay.store.driver.client import WORKER_TIMEOUT
from relay.store.sharding.shards import Shards, open_shards
from tests.accepting import accepting
from tests.building import OTHER_LINE, body_of, webhook_of
from tests.support import eventually
from tests.workers.conftest import TIMINGS, emptied, rules_for
from tests.workers.delivering import ledger_of
from tests.workers.runtime.test_runner import worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config.settings import Settings
    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink

CHATS = [f"dialog-{number}" for number in range(10)]
COUNT = 4


@pytest.fixture(params=[1, 4])
async def shards(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Shards]:
    async with open_shards(redis_url, WORKER_TIMEOUT, count=request.param) as shards:
        yield shards


@pytest.fixture
def sharded(settings: Settings, shards: Shards) -> Settings:
    """Return the settings of a worker with these shards."""
    return settings.model_copy(update={"relay_shards": len(shards.all)})


async def accept_all(shards: Shards, count: int = COUNT) -> dict[str, list[VerifiedWebhook]]:
    """Accept events of every chat, each over the URLs of two lines; return them by chat, in order."""
    by_chat: dict[str, list[VerifiedWebhook]] = defaultdict(list)
    async with accepting(shards.all) as acceptor:
        for _ in range(count):
            for chat in CHATS:
                webhook = webhook_of()
                by_chat[chat].append(webhook._replace(body=body_of(event_id=webhook.id, chat_id=chat)))
            webhooks = [of_chat[-1] for of_chat in by_chat.values()]
            assert all(await asyncio.gather(*map(acceptor.accept, webhooks)))
            copies = [webhook._replace(line=OTHER_LINE) for webhook in webhooks]
            assert not any(await asyncio.gather(*map(acceptor.accept, copies)))
    return by_chat


async def is_settled(shards: Shards, expected: int) -> bool:
    """Return True if the ledger balances, and each subscription has so many delivered."""
    rows = [await ledger_of(shards.home, name) for name in ("bot", "crm")]
    return all(row.balances and row.delivered == expected for row in rows)


@pytest.mark.parametrize("workers", [1, 2])
async def test_each_event_is_delivered_once_in_the_order_of_its_chat(
    shards: Shards, sharded: Settings, rules_file: Path, sink: Sink, workers: int
) -> None:
    rules_file.write_text(rules_for(sink, bot='ordered = "chat"'))
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            for _ in range(workers):
                await stack.enter_async_context(worker(sharded))
            by_chat = await accept_all(shards)
            total = COUNT * len(CHATS)
            await eventually(lambda: len(sink.ids("/bot")) == len(sink.ids("/crm")) == total)
            for shard in shards.all:
                await eventually(partial(emptied, shard))
            await eventually(lambda: is_settled(shards, total))
    received = sink.ids("/bot")
    for webhooks in by_chat.values():
        expected = [webhook.id for webhook in webhooks]
        assert [name for name in received if name in expected] == expected
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []


async def test_events_wake_drains_that_ended_idle(shards: Shards, sharded: Settings, sink: Sink) -> None:
    async with worker(sharded, replace(TIMINGS, idle=0.1)):
        for number in range(1, 4):
            await accept_all(shards, 1)
            await eventually(lambda number=number: len(sink.ids("/bot")) == number * len(CHATS))  # type: ignore[misc]
            await eventually(lambda: are_idle(shards))


async def test_polls_ask_nothing_about_jobs_whose_work_another_does_here(
    shards: Shards, sharded: Settings, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls, asked, start_jobs_of_arq = 0, set[bytes](), Worker.start_jobs

    async def start_jobs(self: Worker, job_ids: list[bytes]) -> None:
        nonlocal polls
        polls += 1
        asked.update(job_ids)
        await start_jobs_of_arq(self, job_ids)

    monkeypatch.setattr(Worker, "start_jobs", start_jobs)
    jobs = [wakeups.deliver(shard.key, wakeups.partition_of("bot")) for shard in shards.all]
    async with worker(sharded):
        await accept_all(shards)
        await eventually(lambda: len(sink.ids("/bot")) == COUNT * len(CHATS))
        for shard, job in zip(shards.all, jobs, strict=True):
            await wakeups.wake(shard, job)
        polls, asked = 0, set()
        await eventually(lambda: polls > 4 * len(shards.all))
        assert not asked & {job.job_id.encode() for job in jobs}


async def are_idle(shards: Shards) -> bool:
    """Return True if no worker has a lease."""
    found = [key for shard in shards.all for key in await shard.keys(shard.key.lease("*"))]
    return not found


async def test_sweep_renews_lost_wake_ups_on_any_shard(
    redis: Redis, shards: Shards, sharded: Settings, sink: Sink
) -> None:
    await accept_all(shards)
    for shard in shards.all:
        jobs = [wakeups.route(shard.key).job_id]
        await redis.delete(shard.key.queue, *(f"arq:job:{job}" for job in jobs))
    async with worker(sharded):
        await eventually(lambda: len(sink.ids("/bot")) == len(sink.ids("/crm")) == COUNT * len(CHATS))


async def test_next_worker_continues_on_every_shard(shards: Shards, sharded: Settings, sink: Sink) -> None:
    async with worker(sharded):
        await accept_all(shards)
        await eventually(lambda: len(sink.ids("/bot")) > 10)
    async with worker(sharded):
        await accept_all(shards)
        await eventually(lambda: is_settled(shards, 2 * COUNT * len(CHATS)))
    assert len(sink.ids("/bot")) == len(set(sink.ids("/bot"))) == 2 * COUNT * len(CHATS)
