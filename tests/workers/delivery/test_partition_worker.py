from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from relay.config.file import ConfigFile
from relay.core.delivery.outcome import Outcome
from relay.core.event_filter import EventFilter
from relay.store import wakeups
from relay.store.lanes.attempts.log import attempts_of
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.lane import Lane
from relay.store.lanes.ready import mark_ready
from tests.support import eventually
from tests.workers.conftest import TIMINGS, Received, Sink, rules_for
from tests.workers.delivering import delivering, feed, ledger_of

if TYPE_CHECKING:
    from pathlib import Path

    from relay.store.driver.client import Redis


async def test_each_event_of_a_lane_is_posted_once(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    events = [f"e{number}" for number in range(300)]
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], *events[:150])
        await feed(redis, lanes["bot"], *events[150:])
        await feed(redis, lanes["crm"], "x")

        async def delivered() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 300 and bool(sink.ids("/crm"))

        await eventually(delivered)
    assert sorted(sink.ids("/bot")) == sorted(events)
    assert sink.ids("/crm") == ["x"]
    row = await ledger_of(redis, "bot")
    assert (row.routed, row.delivered, row.waiting, row.balances) == (300, 300, 0, True)


async def test_subscription_that_changes_topic_gets_its_waiting_events(
    redis: Redis, rules_file: Path, lanes: dict[str, Lane], sink: Sink
) -> None:
    waiting = [f"e{number}" for number in range(120)]
    await feed(redis, lanes["bot"], *waiting)
    await lanes["bot"].read_new(70)  # some were read by a worker that has died
    rules_file.write_text(rules_file.read_text().replace('topic = "messages"', 'topic = "everything"'))
    async with ConfigFile(rules_file) as moved, delivering(redis, moved):
        await eventually(lambda: len(sink.ids("/bot")) == len(waiting))
        await feed(redis, lanes["crm"], "new")
        await mark_ready(redis, wakeups.partition_of("bot"), ["bot"], 1)
        await eventually(lambda: "new" in sink.ids("/bot"))
        await redis.xadd(lanes["bot"].topic_stream, {"id": "of the former topic", "at": "1", "body": "{}"})
    assert sorted(sink.ids("/bot")) == sorted([*waiting, "new"])
    row = await ledger_of(redis, "bot")
    assert (row.routed, row.delivered, row.waiting, row.balances) == (121, 121, 0, True)


async def test_deliveries_in_flight_stay_within_concurrency(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, bot="concurrency = 7"))
    rules.reload()
    now, most, is_full = 0, 0, asyncio.Event()

    async def answer(_: Received) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 7:
            is_full.set()
        await is_full.wait()
        await asyncio.sleep(0.005)  # in which another one may come
        now -= 1
        return web.Response()

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], *map(str, range(60)))
        await eventually(lambda: len(sink.received) == 60)
    assert most == 7


async def test_failure_is_retried_then_dead_lettered_then_replayed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["200ms", "400ms"]'))
    rules.reload()
    works = False

    async def answer(_: Received) -> web.Response:
        return web.Response(status=200 if works else 500, text="no")

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")

        async def dead_letters() -> list[object]:
            return [letter async for letter in DeadLetters(redis).of("bot")]

        await eventually(dead_letters)
        assert sink.ids() == ["e1"] * 3
        assert [post.headers["relay-attempt"] for post in sink.received] == ["1", "2", "3"]
        first, second, third = [post.at for post in sink.received]
        assert second - first >= 0.18
        assert third - second >= 0.36
        letters = [letter async for letter in DeadLetters(redis).of("bot")]
        assert (letters[0].tries, letters[0].status, letters[0].detail) == (3, 500, "no")
        assert letters[0].reason == "failed: no attempt left of 3"

        works = True
        await DeadLetters(redis).replay("bot", [letters[0].record.entry], 1)
        await eventually(lambda: len(sink.received) == 4)
        assert sink.received[3].headers["relay-attempt"] == "1"
        assert sink.received[3].headers["relay-topic"] == "messages"

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 1

        await eventually(settled)
    assert (await ledger_of(redis, "bot")).balances


async def test_every_attempt_is_recorded_with_its_verdict(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    rules_file.write_text(rules_for(sink, retry='["10ms"]'))
    rules.reload()

    async def answer(received: Received) -> web.Response:
        return web.Response(status=200 if received.headers["relay-attempt"] == "2" else 500, text="busy")

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1", chat="chat-1", line="+16465550123")

        async def settled() -> bool:
            return (await ledger_of(redis, "bot")).delivered == 1

        await eventually(settled)
    second, first = [attempt async for attempt in attempts_of(redis, "bot", EventFilter(chat="chat-1"))]
    assert (first.attempt.number, first.attempt.outcome, first.attempt.status) == (1, Outcome.FAILED, 500)
    assert (first.detail, first.counted, first.attempt.is_probe) == ("busy", True, False)
    assert first.attempt.due_ms is not None
    assert first.attempt.due_ms <= second.attempt.at_ms
    assert (second.attempt.number, second.attempt.outcome, second.detail) == (2, Outcome.DELIVERED, "")
    assert [post.headers["relay-attempt"] for post in sink.received] == ["1", "2"]


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_rejected_delivery_is_dead_lettered_at_once(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink, status: int
) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(status=status, headers={"Location": "/"})

    sink.answer = answer
    async with delivering(redis, rules):
        await feed(redis, lanes["bot"], "e1")

        async def dead() -> bool:
            return (await ledger_of(redis, "bot")).dead == 1

        await eventually(dead)
    assert len(sink.received) == 1


async def test_hanging_subscriber_delays_no_other(
    redis: Redis, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    released = asyncio.Event()

    async def answer(received: Received) -> web.Response:
        if received.path == "/bot":
            await released.wait()
        return web.Response()

    sink.answer = answer
    async with delivering(redis, rules, timings=replace(TIMINGS, grace=0.1)):
        await feed(redis, lanes["bot"], *map(str, range(80)))
        await eventually(lambda: len(sink.ids("/bot")) == 50)
        await feed(redis, lanes["crm"], *map(str, range(100)))
        await eventually(lambda: len(sink.ids("/crm")) == 100)
    assert len(sink.ids("/bot")) == 50
    released.set()


async def test_added_changed_and_removed_subscriptions_are_followed(
    redis: Redis, rules_file: Path, rules: ConfigFile, lanes: dict[str, Lane], sink: Sink
) -> None:
    partitions = ("bot", "crm", "late")
    async with delivering(redis, rules, *partitions):
        await feed(redis, lanes["bot"], "e1")
        await eventually(lambda: sink.ids("/bot") == ["e1"])

        rules_file.write_text(rules_for(sink).replace("/bot", "/moved").replace('name = "crm"', 'name = "late"'))
        rules.reload()
        late = Lane(redis, "late", "everything")
        await late.ensure()
        await feed(redis, late, "e2")
        await eventually(lambda: sink.ids("/crm") == ["e2"])
        await feed(redis, lanes["bot"], "e3")
        await eventually(lambda: sink.ids("/moved") == ["e3"])
        await feed(redis, lanes["crm"], "e4")
        await asyncio.sleep(0.2)
    assert sink.ids("/crm") == ["e2"]
    assert (await ledger_of(redis, "crm")).waiting == 2  # it is not in relay.toml any more, and keeps its events
