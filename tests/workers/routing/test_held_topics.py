"""A topic whose stream is overwritten holds its events until it is repaired; the other topics go on."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from relay.store import wakeups
from relay.store.driver.client import ask
from relay.store.lanes.lane import Lane
from relay.store.ledger.ledger import Ledger
from relay.store.topics.held import trim_held_events
from tests.building import webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, accept, emptied, routing, topic
from tests.workers.delivering import delivering, ledger_of
from workers.maintenance.sweeper import Sweeper

if TYPE_CHECKING:
    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Sink

BROKEN = KEYS.topic("messages")
QUICK = replace(TIMINGS, suspended_poll=0.02, pending_count=0.1)


async def route(redis: Redis, rules: ConfigFile, count: int) -> list[str]:
    """Accept and route some events; return their ids."""
    webhooks = [webhook_of() for _ in range(count)]
    async with routing(redis, rules):
        await accept(redis, *webhooks)
        await eventually(lambda: emptied(redis))
    return [webhook.id for webhook in webhooks]


async def are_settled(redis: Redis, count: int) -> bool:
    """Return True if both lanes have written that so many events were delivered."""
    return all([(await ledger_of(redis, name)).delivered == count for name in ("bot", "crm")])


async def test_overwritten_topic_gets_its_events_late(redis: Redis, rules: ConfigFile, sink: Sink) -> None:
    sweeper = Sweeper(redis, rules, time.time)
    first = await route(redis, rules, 3)
    async with delivering(redis, rules, timings=QUICK):
        await eventually(partial(are_settled, redis, 3))
        await redis.rename(BROKEN, "before")
        await redis.set(BROKEN, "not ours")
        with capture_logs() as logs:
            held = await route(redis, rules, 5)
            await sweeper.sweep()
        await eventually(lambda: sorted(sink.ids("/crm")) == sorted([*first, *held]))
        assert await redis.xlen(KEYS.held("messages")) == 5
        told = [line for line in logs if line["event"] == "topic.suspended"]
        assert told
        assert all(line["topic"] == "messages" and f"RENAME {BROKEN}" in line["note"] for line in told)
        await redis.rename(BROKEN, "not ours")
        held += await route(redis, rules, 2)  # behind those that are held
        assert [event["id"] for event in await topic(redis, "everything")] == [*first, *held]
        for _ in range(2):
            await sweeper.sweep()
        held += await route(redis, rules, 1)
        assert [event["id"] for event in await topic(redis, "messages")] == held
        await eventually(lambda: sorted(sink.ids("/bot")) == sorted([*first, *held]))
        await eventually(partial(are_settled, redis, 11))
    assert not await redis.exists(KEYS.held("messages"))
    assert all(row.balances for row in await Ledger(redis).lanes())
    totals = await Ledger(redis).totals()
    assert (totals.routed, totals.balances) == (11, True)


async def test_overwritten_ready_set_stops_no_topic(redis: Redis, rules: ConfigFile, sink: Sink) -> None:
    ready = KEYS.ready(wakeups.partition_of("bot"))
    await redis.set(ready, "not ours")
    with capture_logs() as logs:
        async with delivering(redis, rules, timings=QUICK):
            await route(redis, rules, 2)
            await eventually(lambda: len(sink.received) == 4)
    assert [line["partition"] for line in logs if line["event"] == "partition.suspended"] == [ready]


async def test_held_events_are_bounded(redis: Redis, rules: ConfigFile) -> None:
    await Lane(redis, "bot", "messages").ensure()
    await ask(redis.delete(BROKEN))
    await redis.set(BROKEN, "not ours")
    await route(redis, rules, 20)
    size = int(await ask(redis.memory_usage(KEYS.held("messages"))) or 0)
    assert await trim_held_events(redis, "messages", size) == 0
    assert 8 <= await trim_held_events(redis, "messages", size // 2) <= 12
