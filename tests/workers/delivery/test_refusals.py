"""A subscriber that refuses everything: its backlog waits, and only a few deliveries become dead letters."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.core.delivery.circuit_breaker import Limits
from relay.store.lanes.lane import Lane
from relay.store.lanes.suspensions import Suspensions
from tests.support import eventually
from tests.workers.conftest import Received, Sink, rules_for
from tests.workers.delivering import delivering, feed, ledger_of

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config.file import ConfigFile
    from relay.store.driver.client import Redis

LIMITS = Limits(first_wait=0.02, longest_wait=0.05, window=0.5)
EVENTS = 120


async def delivered(redis: Redis, count: int) -> bool:
    return (await ledger_of(redis, "bot")).delivered == count


@pytest.mark.parametrize(
    ("keys_of_bot", "status"), [("", 404), ('ordered = "chat"', 401), ("retry_4xx = true", 403), ("", 301)]
)
async def test_backlog_waits_until_the_endpoint_is_repaired(
    redis: Redis, rules_file: Path, rules: ConfigFile, sink: Sink, keys_of_bot: str, status: int
) -> None:
    rules_file.write_text(rules_for(sink, retry="[]" if not keys_of_bot else '["20ms"]', bot=keys_of_bot))
    rules.reload()
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()
    is_wrong = True

    async def answer(_: Received) -> web.Response:
        return web.Response(status=status if is_wrong else 200)

    sink.answer = answer
    with capture_logs() as logs:
        async with delivering(redis, rules, "bot", breaker_limits=LIMITS):
            for number in range(EVENTS):
                await feed(redis, lane, f"e{number}", chat=f"c{number}")
            await eventually(Suspensions(redis).open_breakers)
            await eventually(lambda: sum(bool(line.get("probe")) for line in logs) >= 5)
            dead = (await ledger_of(redis, "bot")).dead
            assert dead <= 19  # fewer than the run that opens the breaker
            is_wrong = False
            await eventually(partial(delivered, redis, EVENTS - dead))
    [opened] = [line for line in logs if line["event"] == "breaker.open"]
    assert (opened["log_level"], opened["reason"][-3:]) == ("error", str(status))
    assert "wait" in opened["note"]
    row = await ledger_of(redis, "bot")
    assert (row.dead, row.waiting, row.retrying, row.balances) == (dead, 0, 0, True)


async def test_refused_kind_of_event_does_not_hold_the_others(redis: Redis, rules: ConfigFile, sink: Sink) -> None:
    """A long run of events that the subscriber refuses for what they are, and then others."""
    lane = Lane(redis, "bot", "messages")
    await lane.ensure()

    async def answer(received: Received) -> web.Response:
        return web.Response(status=422 if received.headers["webhook-id"].startswith("odd") else 200)

    sink.answer = answer
    async with delivering(redis, rules, "bot", breaker_limits=LIMITS):
        await feed(redis, lane, *(f"odd{number}" for number in range(60)))
        await eventually(Suspensions(redis).open_breakers)
        await feed(redis, lane, *(f"e{number}" for number in range(20)))
        await eventually(partial(delivered, redis, 20))

        async def are_dead() -> bool:
            return (await ledger_of(redis, "bot")).dead > 30

        await feed(redis, lane, *(f"late{number}" for number in range(20)))
        await eventually(partial(delivered, redis, 40))
        await eventually(are_dead)
    assert (await ledger_of(redis, "bot")).balances
