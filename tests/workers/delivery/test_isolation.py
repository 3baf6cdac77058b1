"""Isolation: lanes whose subscribers hang or are unreachable do not delay the others."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from relay.config.file import ConfigFile
from relay.store import keys
from relay.store.driver.client import ask
from relay.store.lanes.ledger import Ledger
from tests.building import SECRET, arrival_of
from tests.support import eventually
from tests.workers.conftest import accept, routing
from tests.workers.delivering import delivering

if TYPE_CHECKING:
    from pathlib import Path

    from redis.asyncio import Redis

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
            f'secret = "{SECRET.text}"\n'
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

    sink.answer = answer
    rules_file.write_text(rules_with_bad_subscribers(sink))
    async with ConfigFile(rules_file) as rules, delivering(redis, rules, *(f"s{n}" for n in range(LANES))):

        async def all_exist() -> bool:
            return await ask(redis.scard(keys.LANES)) == LANES

        await eventually(all_exist)
        async with routing(redis, rules):
            for number in range(1, EVENTS + 1):
                await accept(redis, arrival_of())
                await eventually(partial(got, "good", number * (LANES - HUNG - ABSENT)))
            await eventually(partial(got, "hang", EVENTS * HUNG))
        let_go.set()
    rows = await Ledger(redis).lanes()
    assert all(row.balances for row in rows)
    assert [row.delivered for row in rows].count(EVENTS) == LANES - ABSENT
