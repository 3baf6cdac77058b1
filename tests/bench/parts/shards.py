"""Shards: what a Redis Cluster costs, what four shards on one server cost, and what more shards on more servers bring.

The floor of the first rows is one shard on one plain Redis. The rows of several servers have one server as their floor:
their rate grows only where there are cores for all of it, but what an event costs each process says what a machine with
them would do. Then processes are pinned, each to a core; the load generator and the sink use what is left.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.events import Order
from tests.bench.parts.push import pushed
from tests.bench.parts.route import routed
from tests.bench.processes import load, pin
from tests.bench.redis_servers import ONE, Setup
from tests.bench.sheet import FLOOR, RELAY, add_speed
from tests.bench.stage import Speed, finished, new_stage, pushed_to, sink, stats_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bench.processes import Program
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "shards"
_FASTEST = 45_000  # requests a second that are signed beforehand
_LONGEST, _DRAIN = 120.0, 120.0  # seconds
_BESIDE = 2  # cores for the load generator and the sink

_COSTS = {
    "1 shard on a cluster (floor: plain Redis)": {RELAY: Setup(1, 1), FLOOR: ONE},
    "4 shards on one Redis (floor: 1)": {RELAY: Setup(4), FLOOR: ONE},
}


class Cost(NamedTuple):
    """What a run cost, in CPU seconds for ten thousand events, and its rate."""

    rate: float
    ingress: float
    worker: float
    redis: float
    """All servers."""
    busiest: float
    """The busiest server."""


async def measure(scale: Scale, sheet: Sheet) -> None:
    for number in range(scale.rounds):
        for what, setups in _COSTS.items():
            systems = scale.measured(*setups)
            for system in reversed(systems) if number % 2 else systems:  # what ran before affects the next one
                setup = setups[system]
                add_speed(sheet, PART, f"accept, {what}", system, await _accepted(scale, setup))
                add_speed(sheet, PART, f"route, {what}", system, await routed(50, scale.routed, setup=setup))
                add_speed(sheet, PART, f"push, {what}", system, await pushed(2, scale.pushed, setup=setup))
        one = await _through(scale, 1)
        _add(sheet, "1 shard, 1 server", RELAY, one)
        for count in (2, 4) if scale.is_wide else (2,):
            what = f"{count} shards, {count} servers (floor: 1)"
            _add(sheet, what, RELAY, await _through(scale, count))
            _add(sheet, what, FLOOR, one)


def _add(sheet: Sheet, what: str, system: str, cost: Cost) -> None:
    sheet.add(PART, f"accepted and delivered, {what}", system, cost.rate)
    names = {"ingress": cost.ingress, "worker": cost.worker, "Redis": cost.redis, "busiest Redis": cost.busiest}
    for name, seconds in names.items():
        sheet.add(PART, f"accepted and delivered, {what}: CPU per 10,000, {name}", system, seconds, "s")


async def _accepted(scale: Scale, setup: Setup) -> Speed:
    """Measure how fast an ingress accepts; its CPU is without that of Redis."""
    async with new_stage(setup=setup) as stage, stage.ingress() as ingress:
        before = ingress.cpu()
        outcome = await load(Order(stage.port, scale.seconds, round(_FASTEST * scale.seconds)))
        spent = ingress.cpu() - before
        totals = await stage.totals()
        assert totals.accepted == outcome.answered, totals
    return Speed(outcome.rate, spent / outcome.answered * 10_000)


async def _through(scale: Scale, count: int) -> Cost:
    """Measure an ingress and a worker at once, on so many shards, each on a server of its own."""
    async with AsyncExitStack() as running:
        port = await running.enter_async_context(sink())
        rules = pushed_to(f"http://127.0.0.1:{port}/")
        stage = await running.enter_async_context(new_stage(rules, Setup(count, count)))
        ingress = await running.enter_async_context(stage.ingress())
        worker = await running.enter_async_context(stage.worker())
        _pin((ingress.pid, worker.pid, *stage.redis_pids))
        before, events = _used(stage, ingress, worker), scale.pushed
        outcome = await load(Order(stage.port, _LONGEST, events))
        ended = await finished(lambda: _missing(stage, outcome.answered), _DRAIN)
        of_ingress, of_worker, *of_servers = (
            (now - then) / events * 10_000 for now, then in zip(_used(stage, ingress, worker), before, strict=True)
        )
        assert outcome.answered == events == (await stats_of(port))["count"], outcome
        await stage.totals()
        await stage.lanes()
    rate = events / (ended - outcome.began_at)
    return Cost(rate, of_ingress, of_worker, sum(of_servers), max(of_servers))


def _pin(pids: Iterable[int]) -> None:
    """Pin each process to a core of its own, if there are enough."""
    pids, cores = tuple(pids), sorted(os.sched_getaffinity(0))
    if len(cores) >= len(pids) + _BESIDE:
        for pid, core in zip(pids, cores, strict=False):
            pin(pid, core)


def _used(stage: Stage, ingress: Program, worker: Program) -> list[float]:
    return [ingress.cpu(), worker.cpu(), *stage.redis_cpus()]


async def _missing(stage: Stage, events: int) -> int:
    return events - await stage.delivered()
