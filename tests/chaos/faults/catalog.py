"""Faults: each is a function that causes a failure, waits, and repairs it.

The repair is in a `finally`, so that nothing stays broken when a run is interrupted. Only one fault at a time affects
Redis (`RedisServer.in_use`), or one process; otherwise faults may overlap.
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
    """Causes the fault for so many seconds; returns the affected processes or teams."""

_LAP = 1.5  # seconds between the start of a successor and the stop of its predecessor
_MAX_STEP = 200.0  # seconds that a clock is off: less than the tolerance of signatures, five minutes
_CUT_INTERVAL = 0.3  # seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault."""

    act: Act
    span: Span
    needs_sentinels: bool = False
    is_about_redis: bool = False
    """True if it must wait until no other fault affects Redis."""


def _kill(kind: str) -> Act:
    async def act(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
        async with stage.pick(kind, dice) as service:
            await service.kill()
            await asyncio.sleep(seconds)
            await stage.replace(service)
            return (service.name,)

    return act


def _pause(kind: str) -> Act:
    async def act(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
        async with stage.pick(kind, dice) as service:
            service.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                service.signal(signal.SIGCONT)
            return (service.name,)

    return act


def _roll(kind: str) -> Act:
    async def act(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
        rolled = []
        for service in stage.processes(kind):
            async with service.in_use:
                if service.process.returncode is not None:
                    continue  # another fault killed it meanwhile
                await stage.start(kind)
                await asyncio.sleep(_LAP)
                await stage.stop(service)
                rolled.append(service.name)
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
    await stage.redis.wait_until_healthy()
    return ("redis",)


async def _sleep_redis(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    async with stage.redis.client() as redis:
        await ask(redis.execute_command("DEBUG", "SLEEP", f"{seconds:.2f}"))  # type: ignore[no-untyped-call]
        await stage.redis.wait_until_healthy()
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
            await asyncio.sleep(_CUT_INTERVAL)
    return (f"{cut} connections",)


async def _delete_lane_groups(stage: Stage, dice: random.Random, _: float) -> tuple[str, ...]:
    chosen = dice.sample(TEAMS, 3)
    for team in chosen:
        await _delete_group(stage, keys.topic(team.topic), keys.push_group(team.name))
    return tuple(team.name for team in chosen)


async def _forget_preparation(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
    async with stage.redis.client() as redis:
        await redis.delete(keys.PREPARED)
    return (keys.PREPARED,)


async def _delete_group(stage: Stage, stream: str, group: str) -> None:
    async with stage.redis.client() as redis:
        with suppress(ResponseError):  # the stream does not exist yet
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
    async with stage.pick(dice.choice(["ingress", "worker"]), dice) as service:
        step = dice.uniform(5, _MAX_STEP) * dice.choice([1, -1])
        service.set_clock(step)
        try:
            await asyncio.sleep(seconds)
        finally:
            service.set_clock(0)
        return (f"{service.name} by {step:+.0f} s",)


FAULTS: Mapping[str, Fault] = {
    "kill-ingress": Fault(_kill("ingress"), Span(0.2, 3)),
    "kill-worker": Fault(_kill("worker"), Span(0.2, 3)),
    "kill-redis": Fault(_kill_redis, Span(0.2, 4), is_about_redis=True),
    "stop-ingress": Fault(_pause("ingress"), Span(0.5, 12)),
    "stop-worker": Fault(_pause("worker"), Span(0.5, 12)),
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
"""Every kind of fault, by the name that `--faults` takes. To add one, add a function and a row."""
