"""Accepting and delivering at once, as fast as possible: one ingress, workers, one sink, 64 connections.

The rate is the number of events divided by the time from the first request until the last delivery is settled. The
parts that are measured alone (`accept`, `route`, `push`) have a core each; here all of them share the machine.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.bench.events import SIZE, Order
from tests.bench.processes import load
from tests.bench.sheet import DIY, RELAY
from tests.bench.stage import finished, new_stage, pushed_to, sink, stats_of

if TYPE_CHECKING:
    from tests.bench.processes import Program
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "through"
_LARGE = 10 * 1024
_LONGEST = 120.0  # seconds
_DRAIN = 120.0
_SHARE = 10  # of the relay's events that the DIY service gets


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for system in scale.measured(RELAY, DIY):
            events = scale.pushed if system == RELAY else max(scale.pushed // _SHARE, 1)
            await _through(sheet, system, "accepted and delivered", events)
            if scale.is_wide:
                await _through(sheet, system, "accepted and delivered, 10 kB", max(events // 2, 1), size=_LARGE)
        for workers in (1, 2) if scale.is_wide else ():
            what = f"accepted and delivered to 2 subscriptions, {workers} worker{'s' * (workers > 1)}"
            await _through(sheet, RELAY, what, scale.pushed // 2, workers=workers, subscriptions=2)


async def _through(
    sheet: Sheet,
    system: str,
    what: str,
    events: int,
    *,
    workers: int = 1,
    subscriptions: int = 1,
    size: int = SIZE,
) -> None:
    """Add the rate, and the CPU seconds of each process for ten thousand events."""
    async with AsyncExitStack() as running:
        port = await running.enter_async_context(sink())
        urls = [f"http://127.0.0.1:{port}/{number}" for number in range(subscriptions)]
        stage = await running.enter_async_context(new_stage(pushed_to(*urls)))
        make_worker = stage.worker if system == RELAY else lambda: stage.diy_worker(urls[0])
        ingress = stage.ingress() if system == RELAY else stage.diy_ingress()
        processes = {
            "ingress": [await running.enter_async_context(ingress)],
            "workers": [await running.enter_async_context(make_worker()) for _ in range(workers)],
        }
        before = _cpu(stage, processes)
        outcome = await load(Order(stage.port, _LONGEST, events, size=size))
        deliveries = outcome.answered * subscriptions
        ended = await finished(lambda: _missing(stage, system, deliveries), _DRAIN)
        spent = {name: cpu - before[name] for name, cpu in _cpu(stage, processes).items()}
        assert outcome.answered == events, outcome
        assert (await stats_of(port))["count"] == deliveries
        if system == RELAY:
            await stage.totals()
            await stage.lanes()
    sheet.add(PART, what, system, events / (ended - outcome.began_at))
    for name, seconds in spent.items():
        sheet.add(PART, f"{what}: CPU per 10,000, {name}", system, seconds / events * 10_000, "s")


def _cpu(stage: Stage, processes: dict[str, list[Program]]) -> dict[str, float]:
    used = {name: sum(program.cpu() for program in programs) for name, programs in processes.items()}
    return used | {"Redis": stage.redis_cpu()}


async def _missing(stage: Stage, system: str, deliveries: int) -> int:
    return deliveries - await stage.delivered() if system == RELAY else int(await stage.redis.zcard("arq:queue"))
