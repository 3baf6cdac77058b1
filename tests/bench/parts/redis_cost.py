"""Cost of an event in Redis: commands, round trips and bytes.

Commands are those of `INFO commandstats`, which counts calls by scripts too. Round trips are the replies that Redis
wrote (`total_writes_processed`): one for all commands that a client sent at once, and more than one for a reply of over
64 kB, so the number is on the high side. The load of idle processes is measured too and subtracted.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.bench.events import SIZE, Order
from tests.bench.processes import load
from tests.bench.sheet import DIY, RELAY
from tests.bench.stage import finished, new_stage, pushed_to, sink, topics_by_line
from tests.support import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from relay.store.driver.client import Redis
    from tests.bench.processes import Program
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "redis"
_TIMEOUT = 120.0
_IDLE = 0.5  # seconds
_POLL_INTERVAL = 0.05
_FASTEST = 45_000  # requests a second that are signed beforehand
_COPIES = (1, 2, 5)
_LARGE = 10 * 1024  # bytes


@dataclass(slots=True)
class Spent:
    """Work of Redis so far."""

    commands: float
    trips: float
    at: float

    @classmethod
    async def so_far(cls, redis: Redis) -> Spent:
        """Read the present numbers."""
        stats, commands = await redis.info("stats"), await redis.info("commandstats")
        return cls(sum(row["calls"] for row in commands.values()), stats["total_writes_processed"], time.monotonic())

    def less(self, before: Spent) -> Spent:
        """Return the difference to `before`; `at` is then the seconds between."""
        return Spent(self.commands - before.commands, self.trips - before.trips, self.at - before.at)


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        for system in scale.measured(RELAY, DIY):
            await _accepting(scale, sheet, system)
        await _routing(scale, sheet)
        if scale.measured(DIY):
            await _working(scale, sheet)
        await _pushing(scale, sheet)
        for topics in _COPIES if scale.is_wide else (1,):
            await _storing(sheet, topics, scale.stored)
        for topics in _COPIES if scale.is_wide else ():
            await _storing(sheet, topics, scale.stored // 4, _LARGE, " of 10 kB")


async def _accepting(scale: Scale, sheet: Sheet, system: str) -> None:
    async with new_stage() as stage, stage.ingress() if system == RELAY else stage.diy_ingress():
        idle = await _idle(stage)
        before = await Spent.so_far(stage.redis)
        outcome = await load(Order(stage.port, scale.seconds, round(_FASTEST * scale.seconds)))
        _add(sheet, "accept", system, (await Spent.so_far(stage.redis)).less(before), idle, outcome.answered)
        if system == RELAY:
            assert (await stage.totals()).accepted == outcome.answered


async def _routing(scale: Scale, sheet: Sheet) -> None:
    async with new_stage(topics_by_line(50)) as stage:
        await stage.accept(scale.routed, lines=49)
        spent, idle = await _spent_by(stage, stage.worker(), lambda: stage.redis.xlen(KEYS.inbox))
        assert (await stage.totals()).routed == scale.routed
    _add(sheet, "route", RELAY, spent, idle, scale.routed)


async def _working(scale: Scale, sheet: Sheet) -> None:
    events = scale.routed // 10
    async with new_stage() as stage:
        await stage.enqueue(events)
        spent, idle = await _spent_by(stage, stage.diy_worker(), lambda: stage.redis.zcard("arq:queue"))
    _add(sheet, "route", DIY, spent, idle, events)


async def _pushing(scale: Scale, sheet: Sheet) -> None:
    async with sink() as port, new_stage(pushed_to(f"http://127.0.0.1:{port}/", options="concurrency = 100")) as stage:
        await stage.fill_topic(scale.pushed)

        async def missing() -> int:
            delivered = await stage.redis.hget(KEYS.lane("team-0"), "delivered")  # type: ignore[misc]  # typed for the blocking client, too
            return scale.pushed - int(delivered or 0)

        spent, idle = await _spent_by(stage, stage.worker(), missing)
        await stage.lanes()
    _add(sheet, "push", RELAY, spent, idle, scale.pushed)


async def _spent_by(
    stage: Stage, worker: AbstractAsyncContextManager[Program], missing: Callable[[], Awaitable[int]]
) -> tuple[Spent, Spent]:
    """Measure the load by a worker until nothing is `missing`, and then while idle, without the polls of the bench."""
    before, polls = await Spent.so_far(stage.redis), 0
    async with worker:
        while await missing():
            polls += 1
            await asyncio.sleep(_POLL_INTERVAL)
        spent = (await Spent.so_far(stage.redis)).less(before)
        idle = await _idle(stage)
    return replace(spent, trips=spent.trips - polls, commands=spent.commands - polls), idle


async def _idle(stage: Stage) -> Spent:
    """Measure the load while there is nothing to do."""
    before = await Spent.so_far(stage.redis)
    await asyncio.sleep(_IDLE)
    return (await Spent.so_far(stage.redis)).less(before)


def _add(sheet: Sheet, stage: str, system: str, spent: Spent, idle: Spent, events: int) -> None:
    for what, here, at_rest in (
        ("commands", spent.commands, idle.commands),
        ("round trips", spent.trips, idle.trips),
    ):
        rest = at_rest / idle.at * spent.at
        sheet.add(PART, f"{stage}: {what}", system, max(here - rest, 0.0) / events, "/event")


async def _storing(sheet: Sheet, topics: int, events: int, size: int = SIZE, kind: str = "") -> None:
    """Measure the bytes of an event, with its dedupe key, per topic that it is in."""
    rules = "".join(f'[[topics]]\nname = "copy-{number}"\nevents = ["*"]\n' for number in range(topics))
    async with new_stage(rules) as stage, stage.worker():
        before = (await stage.redis.info("memory"))["used_memory"]
        await stage.accept(events, size=size)
        await finished(lambda: stage.redis.xlen(KEYS.inbox), _TIMEOUT)
        grown = (await stage.redis.info("memory"))["used_memory"] - before
        assert (await stage.totals()).routed == events
    sheet.add(PART, f"memory{kind} in {topics} topic(s), per topic", RELAY, grown / events / topics, "bytes/event")
