"""Flow control of a lane, as its subscriber sees it."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.core.delivery.circuit_breaker import Limits
from relay.store.lanes.dead_letters import DeadLetters
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering as delivering_with
from tests.workers.delivering import feed, ledger_of
from workers.delivery.flow_control import FlowControl

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis

delivering = partial(
    delivering_with, breaker_limits=Limits(first_wait=0.05, longest_wait=0.2, window=0.5)
)  # probes every fifth of a second


@pytest.fixture
async def bot(redis: Redis) -> Lane:
    """The lane, created."""
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    return lane


def write_rules(rules_file: Path, rules: ConfigFile, sink: Sink, **more: str) -> None:
    rules_file.write_text(rules_for(sink, **more))
    rules.reload()


async def delivered(redis: Redis, count: int) -> bool:
    return (await ledger_of(redis, "bot")).delivered == count


# --- the breaker ----------------------------------------------------------------------------------


async def test_open_breaker_sends_only_probes_and_loses_no_event(
    redis: Redis, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    """With three attempts 50 ms apart, every delivery would be dead-lettered within a fifth of a second."""
    is_down = True

    async def answer(_: Received) -> web.Response:
        return web.Response(status=503 if is_down else 200)

    sink.answer = answer
    events = [f"e{n}" for n in range(300)]
    await feed(redis, bot, *events[:200])  # before: the first few alone, all their attempts failed, open no breaker
    async with delivering(redis, rules, "bot"):
        began = time.monotonic()
        await eventually(lambda: time.monotonic() - began > 1.5)
        assert len(sink.received) <= 50 + 2 * 50 + 25  # those in flight when it opened, and some probes
        assert (await Suspensions(redis).open_breakers())["bot"].reason == "throttled: 503"
        await feed(redis, bot, *events[200:])
        is_down = False
        await eventually(lambda: delivered(redis, 300))

        async def is_closed() -> bool:
            return await Suspensions(redis).open_breakers() == {}

        await eventually(is_closed)
    row = await ledger_of(redis, "bot")
    assert (row.delivered, row.dead, row.balances) == (300, 0, True)
    assert set(sink.ids()) == set(events)


async def test_next_worker_takes_over_an_open_breaker(redis: Redis, rules: ConfigFile, bot: Lane, sink: Sink) -> None:
    async def answer(_: Received) -> web.Response:
        return web.Response(status=500)

    sink.answer = answer
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, *map(str, range(100)))
        await eventually(Suspensions(redis).open_breakers)
    before = len(sink.received)
    with capture_logs() as logs:
        async with delivering(redis, rules, "bot"):
            await eventually(lambda: len(sink.received) >= before + 3)
    assert {line.get("probe") for line in logs if line["event"] == "delivery.attempted"} == {True}


async def test_poison_message_opens_no_breaker_and_is_dead_lettered(
    redis: Redis, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    async def answer(received: Received) -> web.Response:
        return web.Response(status=500 if received.headers["webhook-id"] == "poison" else 200)

    sink.answer = answer
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, "poison", *map(str, range(20)))

        async def is_over() -> bool:
            row = await ledger_of(redis, "bot")
            return (row.delivered, row.dead) == (20, 1)

        await eventually(is_over)
    assert await Suspensions(redis).open_breakers() == {}


async def test_without_breaker_every_delivery_follows_its_schedule(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="breaker = false")

    async def answer(_: Received) -> web.Response:
        return web.Response(status=500)

    sink.answer = answer
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, *map(str, range(20)))

        async def are_dead() -> bool:
            return (await ledger_of(redis, "bot")).dead == 20

        await eventually(are_dead)
    assert len(sink.received) == 60


# --- pauses ---------------------------------------------------------------------------------------


async def test_410_pauses_the_subscription_until_it_is_resumed(
    redis: Redis, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    is_gone = True

    async def answer(_: Received) -> web.Response:
        return web.Response(status=410 if is_gone else 200)

    sink.answer = answer
    with capture_logs() as logs:
        async with delivering(redis, rules, "bot"):
            await feed(redis, bot, "e1")
            await eventually(Suspensions(redis).pauses)
            await feed(redis, bot, "e2")
            await asyncio.sleep(0.3)  # nothing may happen
            assert sink.ids() == ["e1"]
            is_gone = False
            assert await Suspensions(redis).resume("bot")
            await eventually(lambda: delivered(redis, 2))
    assert "resume bot" in next(line["note"] for line in logs if line["event"] == "lane.paused")
    assert [post.headers["relay-attempt"] for post in sink.received if post.headers["webhook-id"] == "e1"] == ["1", "1"]
    assert (await ledger_of(redis, "bot")).balances


async def test_operator_pauses_and_resumes_a_lane(redis: Redis, rules: ConfigFile, bot: Lane, sink: Sink) -> None:
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, "e1")
        await eventually(lambda: delivered(redis, 1))
        with capture_logs() as logs:
            await Suspensions(redis).pause("bot", "maintenance", 1)
            await eventually(lambda: [line["event"] for line in logs] == ["lane.paused"])
        await feed(redis, bot, "e2")
        await asyncio.sleep(0.2)
        assert sink.ids() == ["e1"]
        await Suspensions(redis).resume("bot")
        await eventually(lambda: sink.ids() == ["e1", "e2"])


async def test_relay_toml_pauses_a_lane(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot="paused = true")
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, "e1")
        await asyncio.sleep(0.2)
        assert sink.ids() == []
        write_rules(rules_file, rules, sink)
        await eventually(lambda: sink.ids() == ["e1"])


# --- the rate -------------------------------------------------------------------------------------


async def test_rate_is_kept(redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink) -> None:
    write_rules(rules_file, rules, sink, bot="rate = 20")
    async with delivering(redis, rules, "bot"):
        began = time.monotonic()
        await feed(redis, bot, *map(str, range(35)))
        await eventually(lambda: delivered(redis, 35))
    # A burst of 20 and 20 a second from then on: so the last of 35 takes 0.75 s. A slow machine only makes it later.
    assert all(count <= 20 + 20 * (post.at - began) + 0.01 for count, post in enumerate(sink.received, start=1))


async def test_token_that_comes_while_a_turn_ends_is_used(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes between the last look for one and the decision how long to wait, with nothing in flight to wake it."""
    seconds = [0.0]  # of the looks to come; the last one is that of all further looks
    monkeypatch.setattr(FlowControl, "_now", staticmethod(lambda: seconds.pop(0) if len(seconds) > 1 else seconds[0]))
    write_rules(rules_file, rules, sink, bot="rate = 20")
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, *map(str, range(21)))
        await eventually(lambda: delivered(redis, 20))
        seconds.append(1.0)
        await eventually(lambda: delivered(redis, 21))


# --- verdicts without a POST ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ('events = ["message.sent"]', {"sent"}),
        ('events = ["message.*"]\nlines = ["+16465550123"]', {"received", "sent"}),
        ('lines = ["+16465550199"]', {"elsewhere"}),
        ('freshness = "history"', {"late"}),
        ('freshness = "live"', {"received", "sent", "elsewhere"}),
    ],
)
async def test_subscription_filters_its_topic(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink, filters: str, expected: set[str]
) -> None:
    write_rules(rules_file, rules, sink, bot=filters)
    line = "+16465550123"
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, "received", line=line)
        await feed(redis, bot, "sent", type="message.sent", line=line)
        await feed(redis, bot, "elsewhere", line="+16465550199")
        await feed(redis, bot, "late", freshness="history")

        async def is_over() -> bool:
            row = await ledger_of(redis, "bot")
            return (row.delivered, row.filtered, row.waiting) == (len(expected), 4 - len(expected), 0)

        await eventually(is_over)
    assert set(sink.ids()) == expected
    assert (await ledger_of(redis, "bot")).balances


async def test_expired_event_is_dead_lettered_without_a_post(
    redis: Redis, rules_file: Path, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    write_rules(rules_file, rules, sink, bot='max_age = "1h"')
    an_hour_ago = str(round((time.time() - 3601) * 1000))
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, "old", at=an_hour_ago)
        await feed(redis, bot, "new")
        await eventually(lambda: delivered(redis, 1))

        async def letters() -> list[tuple[str, str, int]]:
            return [(letter.record.id, letter.reason, letter.tries) async for letter in DeadLetters(redis).of("bot")]

        await eventually(letters)
        assert await letters() == [("old", "expired: older than 1h", 0)]
        [letter] = [letter async for letter in DeadLetters(redis).of("bot")]
        await DeadLetters(redis).replay("bot", [letter.record.entry], round(time.time() * 1000))
        await eventually(lambda: delivered(redis, 2))  # an operator who replays it wants it delivered
    assert sink.ids() == ["new", "old"]


async def test_unreadable_entry_is_dead_lettered_and_blocks_no_other(
    redis: Redis, rules: ConfigFile, bot: Lane, sink: Sink
) -> None:
    async with delivering(redis, rules, "bot"):
        await feed(redis, bot, "unreadable", at="yesterday")
        await feed(redis, bot, "e1")
        await eventually(lambda: delivered(redis, 1))
        row = await ledger_of(redis, "bot")
    assert (row.dead, row.balances) == (1, True)
    assert sink.ids() == ["e1"]
