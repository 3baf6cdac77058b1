"""A lane with a key that another client has overwritten: it is suspended, and no other lane of its partition is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.store import wakeups
from relay.store.lanes.lane import Lane
from tests.building import SECRET
from tests.support import KEYS, eventually
from tests.workers.conftest import TIMINGS
from tests.workers.delivering import delivering, feed, ledger_of

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis
    from tests.workers.conftest import Received, Sink

QUICK = replace(TIMINGS, suspended_poll=0.02, pending_count=0.1)
BROKEN, HEALTHY = "bot", "web"  # lanes of one partition


@pytest.fixture(autouse=True)
def _two_lanes(rules_file: Path, sink: Sink) -> None:
    assert wakeups.partition_of(BROKEN) == wakeups.partition_of(HEALTHY)
    rules_file.write_text(
        "".join(
            f'[[topics]]\nname = "of-{name}"\nevents = ["*"]\n'
            f'[[subscriptions]]\nname = "{name}"\ntopic = "of-{name}"\nurl = "{sink.url}/{name}"\n'
            f'secret = "{SECRET.text}"\nretry = ["50ms"]\nordered = "chat"\nblock_on_dead = true\n'
            for name in (BROKEN, HEALTHY)
        )
    )

    async def answer(received: Received) -> web.Response:
        event, is_retry = received.headers["webhook-id"], received.headers["relay-attempt"] > "1"
        status = 404 if event.startswith("dead") else 500 if event.startswith("retried") and not is_retry else 200
        return web.Response(status=status, text="answer")

    sink.answer = answer


async def feed_all(redis: Redis, lane: Lane, number: int) -> None:
    """Give a lane an event that is delivered, one that is retried and one that becomes a dead letter."""
    for kind in ("good", "retried", "dead"):
        await feed(redis, lane, f"{kind}{number}", chat=f"{kind}{number}")


async def settled(redis: Redis, name: str, events: int) -> bool:
    row = await ledger_of(redis, name)
    return (row.delivered, row.dead, row.waiting, row.retrying) == (2 * events, events, 0, 0)


@pytest.mark.parametrize("part", ["", "retries", "tries", "replay", "dead", "blocked", "attempts", "answers", "topic"])
async def test_wrong_key_suspends_its_lane_only(redis: Redis, rules: ConfigFile, sink: Sink, part: str) -> None:
    lanes = [Lane(redis, name, f"of-{name}") for name in (BROKEN, HEALTHY)]
    broken, healthy = lanes
    key = broken.topic_stream if part == "topic" else KEYS.lane(BROKEN, part)
    for lane in lanes:
        await lane.ensure()
    with capture_logs() as logs:
        async with delivering(redis, rules, BROKEN, timings=QUICK):
            for lane in lanes:
                await feed_all(redis, lane, 0)
                await eventually(partial(settled, redis, lane.name, 1))
            await redis.set(key, "not ours")
            if part != "topic":  # a topic that is overwritten cannot be fed
                await feed_all(redis, broken, 1)
            for number in (1, 2, 3):
                await feed_all(redis, healthy, number)
            await eventually(lambda: settled(redis, HEALTHY, 4))
            await eventually(lambda: any(line["event"] == "lane.suspended" for line in logs))
            await redis.rename(key, "elsewhere")
            await broken.ensure()
            await feed_all(redis, broken, 2)
            await eventually(lambda: any(line["event"] == "lane.recovered" for line in logs))
            await eventually(lambda: {"good2", "retried2", "dead2"} <= set(sink.ids(f"/{BROKEN}")))
    assert (await ledger_of(redis, HEALTHY)).balances
    told = [line for line in logs if line["event"] == "lane.suspended"]
    assert {line["subscription"] for line in told} == {BROKEN}
    assert all(key in line["error"] and f"RENAME {key}" in line["note"] for line in told)
    assert len(told) < 5
