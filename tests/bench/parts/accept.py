"""Accepting: requests a second, closed loop over 64 connections, 1 kB each, signed, with distinct ids."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.bench.events import Order
from tests.bench.processes import load
from tests.bench.sheet import DIY, FLOOR, RELAY
from tests.bench.stage import finished, new_stage, serving, sink, topics_by_line
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.bench.load import Outcome
    from tests.bench.processes import Program
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "accept"
_FASTEST = {RELAY: 45_000, DIY: 9000}  # requests a second that are signed beforehand
_REPEATED = 100  # distinct ids among the repeats
_DRAIN = 60.0


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for system in scale.measured(RELAY, FLOOR, DIY):
            if system == FLOOR:
                await _ceiling(scale, sheet)
            await _accept(scale, sheet, system, "1 process, 1 kB")
        if scale.is_wide:
            await _accept(scale, sheet, RELAY, "1 process, 1 kB, a line logged per event", log_level="info")
            for system in scale.measured(RELAY, DIY):
                await _accept(scale, sheet, system, "2 processes, 1 kB", processes=2)
            for system in scale.measured(RELAY, DIY):
                await _accept(scale, sheet, system, "1 process, 10 kB", size=10 * 1024)
            for system in scale.measured(RELAY, DIY):
                await _accept(scale, sheet, system, "1 process, 1 kB, all repeats", repeat=True)
        for system in scale.measured(RELAY, DIY):
            await _through(scale, sheet, system)


async def _ceiling(scale: Scale, sheet: Sheet) -> None:
    async with sink() as port:
        outcome = await load(Order(port, scale.seconds, 1000, repeat=True))
    sheet.add(PART, "ceiling of the load generator", FLOOR, outcome.rate)


async def _accept(
    scale: Scale,
    sheet: Sheet,
    system: str,
    what: str,
    *,
    processes: int = 1,
    size: int = 1024,
    repeat: bool = False,
    log_level: str = "warning",
) -> None:
    if system == FLOOR:
        async with serving("aiohttp") as (port, running):
            before = running.cpu()
            outcome = await load(Order(port, scale.seconds, 1000, repeat=True, size=size))
            spent = running.cpu() - before
        _add(sheet, what, system, outcome, spent)
        return
    async with new_stage() as stage, _ingress(stage, system, processes, log_level) as running:
        order = Order(stage.port, scale.seconds, round(_FASTEST[system] * scale.seconds), size=size)
        if repeat:
            order = replace(order, events=_REPEATED, repeat=True)
        before = running.cpu() + stage.redis_cpu()
        outcome = await load(order)
        spent = running.cpu() + stage.redis_cpu() - before
        if system == RELAY:
            totals = await stage.totals()
            assert totals.accepted == (_REPEATED if repeat else outcome.answered), totals
            assert totals.accepted + totals.duplicate == outcome.answered, totals
    _add(sheet, what, system, outcome, spent)


@asynccontextmanager
async def _ingress(stage: Stage, system: str, processes: int = 1, log_level: str = "warning") -> AsyncIterator[Program]:
    service = stage.ingress(processes, log_level) if system == RELAY else stage.diy_ingress(processes)
    async with service as running:
        yield running


def _add(sheet: Sheet, what: str, system: str, outcome: Outcome, spent: float) -> None:
    sheet.add(PART, what, system, outcome.rate)
    sheet.add(PART, f"{what}: p50", system, outcome.p50, "ms")
    sheet.add(PART, f"{what}: p99", system, outcome.p99, "ms")
    sheet.add(PART, f"{what}: CPU per 10,000, with Redis", system, spent / outcome.answered * 10_000, "s")


async def _through(scale: Scale, sheet: Sheet, system: str) -> None:
    """Measure an ingress and a worker together: events divided by the time until the last one is routed."""
    async with new_stage(topics_by_line(50)) as stage:
        worker = stage.worker() if system == RELAY else stage.diy_worker()
        async with _ingress(stage, system), worker:
            outcome = await load(Order(stage.port, scale.seconds, round(_FASTEST[system] * scale.seconds)))
            waiting = (
                (lambda: stage.redis.xlen(KEYS.inbox)) if system == RELAY else (lambda: stage.redis.zcard("arq:queue"))
            )
            ended = await finished(waiting, _DRAIN)
            if system == RELAY:
                totals = await stage.totals()
                assert totals.routed == totals.accepted == outcome.answered, totals
    sheet.add(PART, "accepted and routed, 1 process each", system, outcome.answered / (ended - outcome.began_at))
