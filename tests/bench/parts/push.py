"""Pushing: a worker with two lanes of 50 requests in flight each, of the same topic and with the same sink.

The floor is a loop on aiohttp's client with 100 in flight. The sink responds at once, from a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.redis_servers import ONE
from tests.bench.sheet import DIY, FLOOR, RELAY, add_speed
from tests.bench.stage import new_stage, pushed_to, sink, speed_of, speed_of_floor, stats_of

if TYPE_CHECKING:
    from tests.bench.redis_servers import Setup
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Speed

PART = "push"
_TIMEOUT = 120.0
_MIN_JOBS = 600  # fewer are done before the second poll
_SUBSCRIPTIONS = (1, 10, 100, 500)


async def measure(scale: Scale, sheet: Sheet) -> None:
    what = "100 in flight"
    for _ in range(scale.rounds):
        add_speed(sheet, PART, what, RELAY, await pushed(2, scale.pushed))
        if scale.measured(FLOOR):
            add_speed(sheet, PART, what, FLOOR, await _floor(scale.pushed))
        if scale.measured(DIY):
            add_speed(sheet, PART, what, DIY, await _jobs(max(scale.pushed // 10, _MIN_JOBS)))
        for subscriptions in _SUBSCRIPTIONS if scale.is_wide else ():
            add_speed(sheet, PART, f"{subscriptions} subscriptions", RELAY, await pushed(subscriptions, scale.pushed))


async def pushed(subscriptions: int, deliveries: int, backlog: int = 0, setup: Setup = ONE) -> Speed:
    """Measure how fast a worker makes the first `deliveries` while `backlog` more wait behind them."""
    async with sink() as port:
        urls = [f"http://127.0.0.1:{port}/{number}" for number in range(subscriptions)]
        async with new_stage(pushed_to(*urls), setup) as stage:
            events = max(deliveries // subscriptions, 1)
            await stage.fill_topic(events + backlog // subscriptions)
            await stage.at_rest()
            async with stage.worker() as worker:
                speed = await speed_of(worker, stage.delivered, events * subscriptions, _TIMEOUT)
            await stage.lanes()
            got = (await stats_of(port))["count"]
            assert got == await stage.delivered() >= events * subscriptions, got
    return speed


async def _floor(deliveries: int) -> Speed:
    async with sink() as port:
        speed = await speed_of_floor("post", f"http://127.0.0.1:{port}/", deliveries, 100)
        assert (await stats_of(port))["count"] == deliveries
    return speed


async def _jobs(deliveries: int) -> Speed:
    async with sink() as port, new_stage() as stage:
        await stage.enqueue(deliveries)

        async def done() -> int:
            return deliveries - int(await stage.redis.zcard("arq:queue"))

        async with stage.diy_worker(f"http://127.0.0.1:{port}/") as worker:
            return await speed_of(worker, done, deliveries, _TIMEOUT)
