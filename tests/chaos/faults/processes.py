"""Faults of the relay's processes: killed, stopped, replaced, short of descriptors, with a wrong clock."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.chaos.records import STARVE_DESCRIPTORS
from tests.chaos.service_process import MAX_STEP
from tests.chaos.switches import HOLD
from tests.support import eventually

if TYPE_CHECKING:
    import random

    from tests.chaos.faults.kind import Act
    from tests.chaos.service_process import ServiceProcess
    from tests.chaos.stage import Stage

_LAP = 1.5  # seconds between the start of a successor and the stop of its predecessor
_MAX_START = 60.0  # seconds, on a busy machine
_DESCRIPTORS = 96  # the lanes whose responses are held want 200 connections
_OF_SHARD = 32  # descriptors for each shard beside the first one: its connections to Redis


def kill(kind: str) -> Act:
    """Kill a process; its successor starts a little later."""

    async def act(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
        async with stage.pick(kind, dice) as service:
            await service.kill()
            await asyncio.sleep(seconds)
            await stage.start(kind)
            return (service.name,)

    return act


def pause(kind: str) -> Act:
    """Stop a process with SIGSTOP, and continue it."""

    async def act(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
        async with stage.pick(kind, dice) as service:
            service.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                service.signal(signal.SIGCONT)
            return (service.name,)

    return act


def roll(kind: str) -> Act:
    """Replace every process by a successor that starts before it stops."""

    async def act(stage: Stage, _: random.Random, __: float) -> tuple[str, ...]:
        rolled = [service.name for service in stage.processes(kind) if await _replace(stage, service)]
        return tuple(rolled)

    return act


async def step_clock(stage: Stage, dice: random.Random, seconds: float) -> tuple[str, ...]:
    """Step the clock of one process."""
    async with stage.pick(dice.choice(["ingress", "worker"]), dice) as service:
        step = dice.uniform(5, MAX_STEP) * dice.choice([1, -1])
        service.set_clock(step)
        try:
            await asyncio.sleep(seconds)
        finally:
            service.set_clock(0)
        return (f"{service.name} by {step:+.0f} s",)


async def starve_descriptors(stage: Stage, _: random.Random, seconds: float) -> tuple[str, ...]:
    """Replace an ingress and all workers by processes with few descriptors, while some subscribers hold responses."""
    normal = [*stage.processes("ingress")[:1], *stage.processes("worker")]
    few = _DESCRIPTORS + _OF_SHARD * (stage.spec.shards - 1)
    starved = await asyncio.gather(*(_replace(stage, service, few) for service in normal))
    limited = [service for service in starved if service]
    try:
        with stage.turned_on(HOLD), stage.watched(STARVE_DESCRIPTORS):
            await asyncio.sleep(seconds)
    finally:
        await asyncio.gather(*(_replace(stage, service) for service in limited))
    return tuple(service.name for service in limited)


async def _replace(stage: Stage, service: ServiceProcess, descriptors: int | None = None) -> ServiceProcess | None:
    """Start a successor, then stop the process; None if another fault killed it meanwhile."""
    async with service.in_use:
        if service.process.returncode is not None:
            return None
        successor = await stage.start(service.kind, descriptors)
        await eventually(lambda: successor.is_started() or successor.process.returncode is not None, _MAX_START)
        await asyncio.sleep(_LAP)
        await stage.stop(service)
        return successor
