"""Latency from the time an event is due at the ingress until its subscriber has it, and CPU, at a constant rate.

Open loop: an event that could not be sent in time counts from when it was due, so a service that pauses is
charged for the events of the pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.events import Order
from tests.bench.processes import load
from tests.bench.sheet import DIY, RELAY
from tests.bench.stage import finished, new_stage, percentile, pushed_to, sink, stats_of
from tests.support import KEYS

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "latency"
_LONGER = 2  # times as long as a closed loop, since there are few events in a second
_DRAIN = 60.0


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for rate in scale.rates:
            for system in scale.measured(RELAY, DIY):
                late_ms, cores = await _late_ms(system, rate, scale.seconds * _LONGER)
                sheet.add(PART, f"CPU at {rate:,.0f}/s", system, cores, "cores")
                for share in (50, 99):
                    what = f"accepted to pushed at {rate:,.0f}/s: p{share}"
                    sheet.add(PART, what, system, percentile(late_ms, share / 100), "ms")


async def _late_ms(system: str, rate: float, seconds: float) -> tuple[list[float], float]:
    """Return the latencies, and the CPU of the services and Redis together, cores."""
    async with sink() as port, new_stage(pushed_to(f"http://127.0.0.1:{port}/")) as stage:
        target = f"http://127.0.0.1:{port}/"
        ingress, worker = (
            (stage.ingress(), stage.worker()) if system == RELAY else (stage.diy_ingress(), stage.diy_worker(target))
        )
        async with ingress as accepting, worker as pushing:

            def cpu() -> float:
                return accepting.cpu() + pushing.cpu() + stage.redis_cpu()

            await load(Order(stage.port, 1.0, 20, "warm", rate=20))
            await _drained(stage, system, 20)
            await stats_of(port)
            events = max(round(rate * seconds), 1)
            before = cpu()
            outcome = await load(Order(stage.port, seconds + 1, events, rate=rate))
            cores = (cpu() - before) / ((outcome.ended_at - outcome.began_at) or 1.0)
            await _drained(stage, system, outcome.answered + 20)
            late_ms: list[float] = (await stats_of(port))["late_ms"]
            assert outcome.answered == events == len(late_ms), (outcome, len(late_ms))
            if system == RELAY:
                await stage.totals()
                await stage.lanes()
    return late_ms, cores


async def _drained(stage: Stage, system: str, events: int) -> None:
    async def missing() -> int:
        if system == RELAY:
            return events - await stage.delivered() + int(await stage.redis.xlen(KEYS.inbox))
        return int(await stage.redis.zcard("arq:queue"))

    await finished(missing, _DRAIN)
