"""Isolation: lanes whose subscribers hang or are unreachable do not delay the others."""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web
from structlog.testing import capture_logs

from relay.config.file import ConfigFile
from relay.store.driver.client import ask
from relay.store.lanes.lane import Lane
from relay.store.ledger.ledger import Ledger
from tests.building import SECRET, webhook_of
from tests.support import KEYS, eventually
from tests.workers.conftest import accept, routing, rules_for
from tests.workers.delivering import delivering, feed, ledger_of
from workers.transport.opening import open_first

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink

LANES, HUNG, ABSENT, EVENTS = 200, 10, 10, 6
CLOSED_PORT = "http://127.0.0.1:9"


def rules_with_bad_subscribers(sink: Sink) -> str:
    text = '[[topics]]\nname = "everything"\nevents = ["*"]\n'
    for number in range(LANES):
        url = CLOSED_PORT if HUNG <= number < HUNG + ABSENT else sink.url
        path = "hang" if number < HUNG else "good"
        text += (
            f'[[subscriptions]]\nname = "s{number}"\ntopic = "everything"\nurl = "{url}/{path}/{number}"\n'
            f'secret = "{SECRET.text}"\ntimeout = "60s"\n'  # none of those that hang gives up before it is let go
        )
    return text


async def test_20_bad_subscribers_do_not_delay_180_others(redis: Redis, rules_file: Path, sink: Sink) -> None:
    let_go = asyncio.Event()

    async def answer(received: Received) -> web.Response:
        if received.path.startswith("/hang/"):
            await let_go.wait()
        return web.Response()

    def got(kind: str, count: int) -> bool:
        return sum(received.path.startswith(f"/{kind}/") for received in sink.received) == count

    async def all_are_counted() -> bool:  # a subscriber has an event before its delivery is counted
        counts = [row.delivered for row in await Ledger(redis).lanes()]
        return counts.count(EVENTS) == LANES - ABSENT

    sink.answer = answer
    rules_file.write_text(rules_with_bad_subscribers(sink))
    async with ConfigFile(rules_file) as rules, delivering(redis, rules, *(f"s{n}" for n in range(LANES))):

        async def all_exist() -> bool:
            return await ask(redis.scard(KEYS.lanes)) == LANES

        await eventually(all_exist)
        async with routing(redis, rules):
            for number in range(1, EVENTS + 1):
                await accept(redis, webhook_of())
                await eventually(partial(got, "good", number * (LANES - HUNG - ABSENT)))
            await eventually(partial(got, "hang", EVENTS * HUNG))
        let_go.set()
        await eventually(all_are_counted)
    assert all(row.balances for row in await Ledger(redis).lanes())


async def test_shortage_of_ours_costs_no_attempt(
    redis: Redis, rules_file: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be connected to for a while: with `retry = []` any attempt would be the last."""
    is_short, failed = True, 0

    async def connect(*arguments: Any) -> Any:
        nonlocal failed
        if is_short:
            failed += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await open_first(*arguments)

    monkeypatch.setattr("workers.transport.pool.open_first", connect)
    rules_file.write_text(rules_for(sink, retry="[]", bot='rate = 1000\nordered = "chat"'))
    lanes = [Lane(redis, "bot", "messages"), Lane(redis, "crm", "everything")]
    with capture_logs() as logs:
        async with ConfigFile(rules_file) as rules:
            for lane in lanes:
                await lane.ensure()
                await feed(redis, lane, *(f"{lane.name}{number}" for number in range(20)), chat="C")
            async with delivering(redis, rules):
                await eventually(lambda: failed > 20)
                assert not sink.received
            async with delivering(redis, rules):  # another worker has the lanes now
                await eventually(lambda: failed > 60)
                is_short = False

                async def are_delivered() -> bool:
                    return all([(await ledger_of(redis, lane.name)).delivered == 20 for lane in lanes])

                await eventually(are_delivered)
    assert sink.ids("/bot") == [f"bot{number}" for number in range(20)]
    assert sorted(sink.ids("/crm")) == sorted(f"crm{number}" for number in range(20))
    assert {post.headers["relay-attempt"] for post in sink.received} == {"1"}
    assert not [line for line in logs if line["event"] == "breaker.open"]
    postponed = [line for line in logs if line["event"] == "delivery.postponed"]
    assert {(line["subscription"], line["reason"]) for line in postponed} == {
        ("bot", "Too many open files"),
        ("crm", "Too many open files"),
    }
    assert len(postponed) <= 4
    rows = await Ledger(redis).lanes()
    assert all(row.balances for row in rows)
