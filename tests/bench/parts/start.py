"""Start and soak: seconds until a process is ready, and its memory then and after a soak at a constant rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.events import Order
from tests.bench.processes import load
from tests.bench.sheet import DIY, RELAY
from tests.bench.stage import new_stage, pushed_to, sink

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

PART = "start"
_RATE = 200.0
_SETTLED = 0.2  # of the soak, after which memory should no longer grow


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for system in scale.measured(RELAY, DIY):
            await _start(sheet, system)
    await _soak(scale, sheet)


async def _start(sheet: Sheet, system: str) -> None:
    async with new_stage() as stage:
        services = (
            {"ingress": stage.ingress(), "worker": stage.worker()}
            if system == RELAY
            else {"ingress": stage.diy_ingress(), "worker": stage.diy_worker()}
        )
        for name, service in services.items():
            async with service as running:
                sheet.add(PART, f"{name}: ready after", system, running.started_in, "s")
                sheet.add(PART, f"{name}: memory", system, running.rss(), "MB")


async def _soak(scale: Scale, sheet: Sheet) -> None:
    what = f"memory after {scale.soak:,.0f} s at {_RATE:.0f}/s"
    async with sink() as port, new_stage(pushed_to(f"http://127.0.0.1:{port}/")) as stage:
        async with stage.ingress() as ingress, stage.worker() as worker:
            soaked = 0
            for share in (_SETTLED, 1 - _SETTLED):
                seconds = scale.soak * share
                events = max(round(seconds * _RATE), 1)
                outcome = await load(Order(stage.port, seconds + 1, events, f"soak-{share}", rate=_RATE))
                soaked += outcome.answered
                when = "" if share != _SETTLED else f", the first {_SETTLED:.0%} of it"
                sheet.add(PART, f"ingress: {what}{when}", RELAY, ingress.rss(), "MB")
                sheet.add(PART, f"worker: {what}{when}", RELAY, worker.rss(), "MB")
        totals = await stage.totals()
        assert totals.accepted == soaked, totals
        await stage.lanes()
