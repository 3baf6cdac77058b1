"""One run: start everything, let events flow and faults happen, let it come to rest, and gather what is left."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos import gather
from tests.chaos.faults import FAULTS
from tests.chaos.plan import seconds_of_a_round, steps
from tests.chaos.records import Happened
from tests.chaos.sentinel_redis import SentinelRedis
from tests.chaos.spec import Spec
from tests.chaos.stage import open_stage
from tests.redis_server import RedisServer
from tests.support import reserve_port

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.chaos.plan import Span, Step
    from tests.chaos.records import Records
    from tests.chaos.stage import Stage

    Say = Callable[[str], None]

_HELPER_TIMEOUT = 60.0
_MAX_TAIL = 900.0
"""Seconds that the sender may need beyond its own pace: for what it has to try again, and for what we cannot take."""
_NO_PACE = 100.0  # events a second that are expected at least where there is no rate: faults go on for no longer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is asked for."""

    events: int
    seed: int
    rate: float
    kinds: Mapping[str, Span]
    directory: Path
    ingresses: int = 2
    workers: int = 2
    fsync: str = "always"
    sentinels: bool = False
    log_level: str = "warning"

    @property
    def pace(self) -> float:
        """Events a second: `rate`, or fewer so that traffic lasts for a whole round of faults; 0 is for no limit."""
        return min(self.rate, self.events / seconds_of_a_round(self.kinds)) if self.rate else 0.0


async def run_chaos(wanted: Wanted, say: Say) -> Records:
    """Runs it."""
    redis = (SentinelRedis if wanted.sentinels else RedisServer)(wanted.directory / "redis", wanted.fsync)
    try:
        await redis.start()
        return await _run_on(redis, wanted, say)
    finally:
        await redis.abandon()


async def _run_on(redis: RedisServer | SentinelRedis, wanted: Wanted, say: Say) -> Records:
    spec = Spec(
        directory=str(wanted.directory),
        seed=wanted.seed,
        events=wanted.events,
        rate=wanted.pace,
        ingress_port=reserve_port(),
        teams_port=reserve_port(),
        redis_url=redis.url,
    )
    spec.write()
    async with open_stage(spec, redis, wanted.log_level) as stage:
        subscribers = await stage.helper("tests.chaos.subscribers")
        try:
            await asyncio.gather(*(stage.start("ingress") for _ in range(wanted.ingresses)))
            await asyncio.gather(*(stage.start("worker") for _ in range(wanted.workers)))
            sender = await stage.helper("tests.chaos.linq")
            try:
                happened = await _flow(stage, wanted, sender, say)
            finally:
                await _end(sender)
            say("traffic has ended; the subscribers behave from now on")
            subscribers.send_signal(signal.SIGUSR1)
            unrest = await gather.rest(stage)
            say(f"not at rest: {unrest}" if unrest else "everything is at rest")
            ledger = await gather.read_ledger(stage)
            await stage.close()
        finally:
            await _end(subscribers)
        return await gather.gather(stage, unrest, ledger, happened)


async def _flow(stage: Stage, wanted: Wanted, sender: Process, say: Say) -> list[Happened]:
    """Makes faults for as long as new events flow, and until every kind was there once; then waits for the sender."""
    happened: list[Happened] = []
    began = time.monotonic()
    sending = asyncio.create_task(sender.wait())
    last_new = began + wanted.events / (wanted.pace or _NO_PACE)
    latest = last_new + seconds_of_a_round(wanted.kinds) + _MAX_TAIL
    under_way: set[asyncio.Task[None]] = set()

    async def make(step: Step) -> None:
        fault = FAULTS[step.kind]
        async with stage.redis.in_use if fault.is_about_redis else nullcontext():
            since = time.monotonic()
            whom = await fault.act(stage, random.Random(step.dice), step.seconds)
        happened.append(Happened(step.kind, since, time.monotonic(), whom))
        say(f"{since - began:6.1f} s  {step.kind}, {time.monotonic() - since:.1f} s: {', '.join(whom)}")

    async with asyncio.TaskGroup() as group:
        for position, step in enumerate(steps(wanted.seed, wanted.kinds)):
            if position >= len(wanted.kinds) and (sending.done() or time.monotonic() > last_new):
                break
            if under_way and not step.overlaps:
                await asyncio.wait(under_way)
            if position < len(wanted.kinds):
                await asyncio.sleep(step.pause)
            else:
                await asyncio.wait({sending}, timeout=step.pause)
            task = group.create_task(make(step))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    async with asyncio.timeout(latest - time.monotonic()):
        await sending
    if sender.returncode != 0:
        raise RuntimeError(f"the sender ended with {sender.returncode}; see {stage.spec.home / 'linq.log'}")
    return happened


async def _end(helper: Process) -> None:
    """Ends a process of the suite, which then writes its report."""
    if helper.returncode is None:
        helper.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(_HELPER_TIMEOUT):
            await helper.wait()
    if helper.returncode is None:
        helper.kill()
        await helper.wait()
