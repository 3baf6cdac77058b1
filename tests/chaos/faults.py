"""The faults: each is one function that does its damage, lasts for a while and makes it good again.

Who repairs is the fault itself, in a `finally`, so that nothing stays broken when a run is broken off. One that is
about Redis has it to itself (`RedisServer.in_use`), one that hits a process has that to itself: otherwise any may
overlap.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from relay.store import keys
from relay.store.driver.client import ask
from tests.chaos.plan import Span
from tests.chaos.records import DELETE_LANE_GROUPS
from tests.chaos.teams import TEAMS

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Mapping

    from tests.chaos.stage import Stage

    Act = Callable[[Stage, random.Random, float], Awaitable[tuple[str, ...]]]
    """Does it for so many seconds, and says to whom."""

_LAP = 1.5  # seconds that a successor has before its predecessor goes
_MAX_STEP = 200.0  # seconds a clock goes wrong by: less than the five minutes that signatures bear
_CUTS = 0.3  # seconds between two


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault."""

    act: Act
    span: Span
    needs_sentinels: bool = False
    is_about_redis: bool = False
    """Whether it has to wait until no other fault is at work on Redis."""


def _kill(kind: str) -> Act:
    async def act(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
        async with stage.one_of(kind, dice) as one:
            await one.kill()
            await asyncio.sleep(seconds)
            await stage.replace(one)
            return (one.name,)

    return act


def _stand_still(kind: str) -> Act:
    async def act(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
        async with stage.one_of(kind, dice) as one:
            one.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                one.signal(signal.SIGCONT)
            return (one.name,)

    return act


def _roll(kind: str) -> Act:
    async def act(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
        rolled = []
        for one in stage.all_of(kind):
            async with one.in_use:
                if one.process.returncode is not None:
                    continue  # another fault killed it while we waited
                await stage.start(kind)
                await asyncio.sleep(_LAP)
                await stage.stop(one)
                rolled.append(one.name)
        return tuple(rolled)

    return act


async def _kill_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    try:
        await stage.redis.kill()
        await asyncio.sleep(seconds)
    finally:
        await stage.redis.start()
    return ("redis",)


async def _restart_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    try:
        await stage.redis.stop()
        await asyncio.sleep(seconds)
    finally:
        await stage.redis.start()
    return ("redis",)


async def _stop_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    stage.redis.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        stage.redis.signal(signal.SIGCONT)
    await stage.redis.healed()
    return ("redis",)


async def _sleep_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    async with stage.redis.client() as redis:
        await ask(redis.execute_command("DEBUG", "SLEEP", f"{seconds:.2f}"))  # type: ignore[no-untyped-call]
        await stage.redis.healed()
    return ("redis",)


async def _fail_over(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    await stage.redis.fail_over()
    return ("redis",)


async def _cut_connections(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    cut, loop = 0, asyncio.get_running_loop()
    ends = loop.time() + seconds
    async with stage.redis.client() as redis:
        while loop.time() < ends:
            cut += await ask(redis.client_kill_filter(_type="normal", skipme=True))
            await asyncio.sleep(_CUTS)
    return (f"{cut} connections",)


async def _delete_lane_groups(stage: Stage, dice: random.Random, _: float) -> tuple[str, ...]:
    doomed = dice.sample(TEAMS, 3)
    for team in doomed:
        await _delete_group(stage, keys.topic(team.topic), keys.push_group(team.name))
    return tuple(team.name for team in doomed)


async def _forget_preparation(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    async with stage.redis.client() as redis:
        await redis.delete(keys.PREPARED)
    return (keys.PREPARED,)


async def _delete_group(stage: Stage, stream: str, group: str) -> None:
    async with stage.redis.client() as redis:
        with suppress(ResponseError):  # there is no such stream yet
            await redis.xgroup_destroy(stream, group)


async def _flush_scripts(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    async with stage.redis.client() as redis:
        await redis.script_flush()
    return ("redis",)


async def _fill_memory(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    async with stage.redis.client() as redis:
        await redis.config_set("maxmemory", "1mb")
        try:
            await asyncio.sleep(seconds)
        finally:
            await redis.config_set("maxmemory", "0")
    return ("redis",)


async def _step_clock(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
    async with stage.one_of(dice.choice(["ingress", "worker"]), dice) as one:
        step = dice.uniform(5, _MAX_STEP) * dice.choice([1, -1])
        one.set_clock(step)
        try:
            await asyncio.sleep(seconds)
        finally:
            one.set_clock(0)
        return (f"{one.name} by {step:+.0f} s",)


FAULTS: Mapping[str, Fault] = {
    "kill-ingress": Fault(_kill("ingress"), Span(0.2, 3)),
    "kill-worker": Fault(_kill("worker"), Span(0.2, 3)),
    "kill-redis": Fault(_kill_redis, Span(0.2, 4), is_about_redis=True),
    "stop-ingress": Fault(_stand_still("ingress"), Span(0.5, 12)),
    "stop-worker": Fault(_stand_still("worker"), Span(0.5, 12)),
    "stop-redis": Fault(_stop_redis, Span(0.5, 12), is_about_redis=True),
    "restart-redis": Fault(_restart_redis, Span(0, 2), is_about_redis=True),
    "roll-ingresses": Fault(_roll("ingress"), Span(0, 0)),
    "roll-workers": Fault(_roll("worker"), Span(0, 0)),
    "fail-over": Fault(_fail_over, Span(0, 0), is_about_redis=True, needs_sentinels=True),
    "sleep-redis": Fault(_sleep_redis, Span(0.5, 8), is_about_redis=True),
    "cut-connections": Fault(_cut_connections, Span(0, 3), is_about_redis=True),
    DELETE_LANE_GROUPS: Fault(_delete_lane_groups, Span(0, 0), is_about_redis=True),
    "forget-preparation": Fault(_forget_preparation, Span(0, 0), is_about_redis=True),
    "flush-scripts": Fault(_flush_scripts, Span(0, 0), is_about_redis=True),
    "fill-memory": Fault(_fill_memory, Span(0.3, 4), is_about_redis=True),
    "step-clock": Fault(_step_clock, Span(2, 12)),
}
"""Every kind of fault, by the name that `--faults` takes. A new one is a function and a row."""
