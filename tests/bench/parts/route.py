"""Routing: a worker drains a full inbox into two of 50 topics; stock arq runs a job per event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.redis_servers import ONE
from tests.bench.sheet import DIY, FLOOR, RELAY, add_speed
from tests.bench.stage import new_stage, speed_of, speed_of_floor, topics_by_line
from tests.building import CUSTOMER
from tests.support import KEYS

if TYPE_CHECKING:
    from tests.bench.redis_servers import Setup
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Speed

PART = "route"
_TIMEOUT = 120.0
_TOPICS = (1, 10, 1000)
_CONDITIONS = {
    "direction": 'direction = "inbound"',
    "api": 'api = "v3"',
    "sender": f'sender = "{CUSTOMER}"',
    "has_media": "has_media = false",
    "opt_out": "opt_out = true",
    "where": """where = "data.due_ms >= `0` && starts_with(data.text, 'x')\"""",
}
"""A condition of each kind, for one more topic."""


async def measure(scale: Scale, sheet: Sheet) -> None:
    what = "into 2 of 50 topics"
    for _ in range(scale.rounds):
        add_speed(sheet, PART, what, RELAY, await routed(50, scale.routed))
        if scale.measured(FLOOR):
            add_speed(sheet, PART, what, FLOOR, await _floor(scale.routed))
        if scale.measured(DIY):
            add_speed(sheet, PART, what, DIY, await _jobs(scale.routed // 10))
        for topics in _TOPICS if scale.is_wide else ():
            add_speed(sheet, PART, f"of {topics:,} topics", RELAY, await routed(topics, scale.routed))
        for name, condition in _CONDITIONS.items() if scale.is_wide else ():
            speed = await routed(1, scale.routed, more=f'[[topics]]\nname = "c"\nevents = ["*"]\n{condition}\n')
            add_speed(sheet, PART, f"of 2 topics, one by {name}", RELAY, speed)


async def routed(topics: int, events: int, backlog: int = 0, more: str = "", setup: Setup = ONE) -> Speed:
    """Measure how fast a worker routes `events` while `backlog` more wait behind them; `more` are further topics."""
    async with new_stage(topics_by_line(topics) + more, setup) as stage:
        await stage.accept(events + backlog, lines=max(topics - 1, 1))
        await stage.at_rest()
        async with stage.worker() as worker:
            speed = await speed_of(worker, stage.routed, events, _TIMEOUT)
        totals = await stage.totals()
        assert totals.accepted == totals.routed + totals.inbox == events + backlog, totals
    return speed


async def _floor(events: int) -> Speed:
    async with new_stage() as stage:
        await stage.accept(events)
        speed = await speed_of_floor("route", stage.url, events)
        assert await stage.redis.xlen(KEYS.topic("two")) == events
    return speed


async def _jobs(events: int) -> Speed:
    async with new_stage() as stage:
        await stage.enqueue(events)

        async def done() -> int:
            return events - int(await stage.redis.zcard("arq:queue"))

        async with stage.diy_worker() as worker:
            return await speed_of(worker, done, events, _TIMEOUT)
