"""Effect of busy workers on the ingress: its p99 at a constant rate while a worker pushes all it can, and alone."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.bench.events import Order
from tests.bench.processes import load
from tests.bench.sheet import FLOOR, RELAY
from tests.bench.stage import new_stage, pushed_to, sink

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

PART = "saturated"
_RATE = 300.0


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for system in scale.measured(FLOOR, RELAY):
            p99 = await _p99(scale.seconds * 2, scale.waiting if system == RELAY else 0)
            sheet.add(PART, f"accept p99 at {_RATE:.0f}/s, workers busy (floor: no workers)", system, p99, "ms")


async def _p99(seconds: float, waiting: int) -> float:
    async with sink() as port, new_stage(pushed_to(f"http://127.0.0.1:{port}/")) as stage:
        await stage.fill_topic(waiting)
        async with AsyncExitStack() as services:
            await services.enter_async_context(stage.ingress())
            if waiting:
                await services.enter_async_context(stage.worker())
            outcome = await load(Order(stage.port, seconds + 1, round(seconds * _RATE), rate=_RATE))
        totals = await stage.totals()
        assert totals.accepted == outcome.answered, totals
        if waiting and not sum(lane.waiting for lane in await stage.lanes()):
            raise RuntimeError("the worker ran out of work before the load ended: the backlog was too short")
    return outcome.p99
