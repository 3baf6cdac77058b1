"""Start and soak: seconds until a process is ready, and its memory then, after many events and after a soak.

The floor is a process that imports what the role stands on, connects to Redis and is ready (`start_floors`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.bench.events import Order
from tests.bench.processes import answers, compile_checkout, load, program
from tests.bench.sheet import DIY, FLOOR, RELAY
from tests.bench.stage import finished, new_stage, pushed_to, sink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from tests.bench.processes import Program
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "start"
_MANY, _MANY_RATE = 100_000, 2000.0  # events, and how many of them a second
_READY = "start-floor"
_REST = 60.0  # seconds for a late load, and for the last deliveries
_RATE = 200.0
_SETTLED = 0.2  # of the soak, after which memory should no longer grow


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for system in scale.measured(RELAY, FLOOR, DIY):
            await _start(sheet, system)
    await _many(scale, sheet)
    await _soak(scale, sheet)


async def _start(sheet: Sheet, system: str) -> None:
    compile_checkout()  # an environment that writes none (PYTHONDONTWRITEBYTECODE) has none of files that have changed
    async with new_stage() as stage:
        for name, service in _services(stage, system).items():
            async with service as running:
                sheet.add(PART, f"{name}: ready after", system, running.started_in, "s")
                sheet.add(PART, f"{name}: memory", system, running.rss(), "MB")


def _services(stage: Stage, system: str) -> Mapping[str, AbstractAsyncContextManager[Program]]:
    if system == RELAY:
        return {"ingress": stage.ingress(), "worker": stage.worker()}
    if system == DIY:
        return {"ingress": stage.diy_ingress(), "worker": stage.diy_worker()}
    url, port = stage.url, str(stage.port)

    async def ready() -> object:
        return await stage.redis.exists(_READY)

    floors = "tests.bench.start_floors"
    return {
        "ingress": program(floors, "ingress", url, port, ready=answers(stage.port, "/ready")),
        "worker": program(floors, "worker", url, _READY, ready=ready),
    }


@asynccontextmanager
async def _service() -> AsyncIterator[tuple[Stage, Program, Program]]:
    """Run an ingress and a worker that pushes; yield the stage and both."""
    async with (
        sink() as port,
        new_stage(pushed_to(f"http://127.0.0.1:{port}/")) as stage,
        stage.ingress() as ingress,
        stage.worker() as worker,
    ):
        yield stage, ingress, worker


async def _many(scale: Scale, sheet: Sheet) -> None:
    """Measure the memory after many events, beside the floors at their start."""
    events = _MANY if scale.is_wide else scale.stored
    what = f"memory after {events:,} events"
    async with _service() as (stage, ingress, worker):
        order = Order(stage.port, events / _MANY_RATE + _REST, events, "many", rate=_MANY_RATE)
        answered = (await load(order)).answered

        async def left() -> int:
            return answered - await stage.delivered()

        await finished(left, _REST)
        sheet.add(PART, f"ingress: {what}", RELAY, ingress.rss(), "MB")
        sheet.add(PART, f"worker: {what}", RELAY, worker.rss(), "MB")
        totals = await stage.totals()
        assert totals.accepted == answered, totals
    for system in scale.measured(FLOOR):
        async with new_stage() as stage:
            for name, service in _services(stage, system).items():
                async with service as running:
                    sheet.add(PART, f"{name}: {what}", system, running.rss(), "MB")


async def _soak(scale: Scale, sheet: Sheet) -> None:
    what = f"memory after {scale.soak:,.0f} s at {_RATE:.0f}/s"
    async with _service() as (stage, ingress, worker):
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
