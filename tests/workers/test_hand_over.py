"""Events that the router hands over to lanes of its own process."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.config.file import ConfigFile
from relay.config.settings import Settings
from relay.process.timings import Timings
from relay.store import wakeups
from relay.store.lanes.lane import Lane
from tests.building import body_of, webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS, Received, Sink, accept, routing, rules_for
from tests.workers.delivering import delivering, ledger_of
from tests.workers.runtime.test_runner import worker
from workers.routing.router import Router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.core.event import VerifiedWebhook
    from relay.store.driver.client import Redis
    from relay.store.inbox.reading.hand_over import Receivers

EVENTS = 24


@asynccontextmanager
async def one_process(redis: Redis, rules: ConfigFile) -> AsyncIterator[Receivers]:
    """Run a router and the partitions of both lanes, as one process does."""
    receivers: Receivers = {}
    router = Router(redis, rules, time.time, TIMINGS, receivers=receivers)
    async with delivering(redis, rules, receivers=receivers), routing(redis, rules, router):
        await eventually(lambda: len(receivers) == 2)
        yield receivers


async def settled(redis: Redis, count: int) -> bool:
    rows = [await ledger_of(redis, name) for name in ("bot", "crm")]
    return all(row.balances and row.delivered == count for row in rows)


async def test_lanes_send_what_the_router_hands_over(
    redis: Redis, rules: ConfigFile, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_process(redis, rules) as receivers:
        await eventually(lambda: all(offers(receivers)))
        reads: list[str] = []
        monkeypatch.setattr(Lane, "read_new", lambda lane, *_: reads.append(lane.name))
        for number in range(1, 4):
            await accept(redis, webhook_of())
            await eventually(lambda number=number: len(sink.ids("/bot")) == len(sink.ids("/crm")) == number)  # type: ignore[misc]
        assert not reads
        jobs = [wakeups.deliver(KEYS, wakeups.partition_of(name)).job_id for name in ("bot", "crm")]
        assert not await redis.exists(*(f"arq:job:{job}" for job in jobs))
        monkeypatch.undo()
        await eventually(lambda: settled(redis, 3))


async def test_no_event_goes_to_a_url_that_is_no_longer_in_force(
    redis: Redis, redis_url: str, rules_file: Path, sink: Sink
) -> None:
    settings = Settings(redis_url=redis_url, relay_config=rules_file)
    async with worker(settings, Timings(router_block=0.05, ready_poll=2, config_poll=0.01)) as parts:
        await accept(redis, webhook_of(event_id="first"))
        await eventually(lambda: sink.ids("/bot") == ["first"])
        before = parts.rules.current
        rules_file.write_text(rules_file.read_text().replace("/bot", "/moved"))
        await eventually(lambda: parts.rules.current is not before)
        await accept(redis, webhook_of(event_id="second"))
        await eventually(lambda: sink.ids("/moved") == ["second"])
        assert sink.ids("/bot") == ["first"]


def event_of_chat(chat: str, number: int) -> VerifiedWebhook:
    event_id = f"{chat}/{number}"
    return webhook_of(event_id=event_id)._replace(body=body_of("message.received", event_id, chat_id=chat))


def offers(receivers: Receivers) -> list[bool]:
    """Ask each lane whether it would take events, and withdraw the question."""
    found = []
    for name, topic in (("bot", "messages"), ("crm", "everything")):
        found.append(receivers[name].offer(KEYS.topic(topic)) is not None)
        if found[-1]:
            receivers[name].take(())
    return found


@pytest.mark.parametrize("breaks", [False, True])
async def test_chats_stay_in_order_across_readers(redis: Redis, rules_file: Path, sink: Sink, *, breaks: bool) -> None:
    """Bursts are read by the lane, single events handed over; with `breaks`, replies of Redis get lost."""
    chance, got = random.Random(3), defaultdict[str, list[int]](list)

    async def answer(received: Received) -> web.Response:
        await asyncio.sleep(chance.random() * 0.003)
        if received.path == "/crm":
            return web.Response()
        if chance.random() < 0.1:
            return web.Response(status=503)
        chat, _, number = received.headers["webhook-id"].partition("/")
        got[chat].append(int(number))
        return web.Response()

    sink.answer = answer
    retry = json.dumps(["5ms"] * 9)
    bot = 'ordered = "chat"\nbreaker = false\nconcurrency = 3\n'
    rules_file.write_text(rules_for(sink, retry=retry, bot=bot))
    async with ConfigFile(rules_file) as rules, one_process(redis, rules):
        number = 0
        while number < EVENTS:
            burst = chance.choice([1, 1, 2, 18])
            events = [(chat, each) for each in range(number, number + burst) for chat in ("a", "b")]
            await accept(redis, *(event_of_chat(*event) for event in events))
            number += burst
            await asyncio.sleep(chance.random() * 0.01)
            if breaks:
                await redis.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: settled(redis, 2 * number))
    for numbers in got.values():
        first_times = list(dict.fromkeys(numbers))
        assert first_times == sorted(first_times)
