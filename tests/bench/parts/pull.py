"""Pulling: `relay.consumer` reads a topic, beside a bare loop on the same redis-py; fifty members of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.processes import output_of
from tests.bench.pullers import STREAM
from tests.bench.sheet import FLOOR, RELAY, add_speed
from tests.bench.stage import Speed, new_stage

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet
    from tests.bench.stage import Stage

PART = "pull"
_MEMBERS = 50
_AT_ONCE = 20
_WAYS: dict[str, dict[str, tuple[str, *tuple[int, ...]]]] = {
    "one consumer": {RELAY: ("each", 1), FLOOR: ("bare",)},
    "one consumer, batches": {RELAY: ("batches",), FLOOR: ("bare",)},
    "one consumer, sync": {RELAY: ("each-sync",), FLOOR: ("bare-sync",)},
    f"one consumer, {_AT_ONCE} at a time": {RELAY: ("at-once", _AT_ONCE), FLOOR: ("bare",)},
    f"{_MEMBERS} members of a group (floor: one)": {RELAY: ("each", _MEMBERS), FLOOR: ("each", 1)},
}


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        async with new_stage() as stage:
            await stage.fill_topic(scale.routed)
            await stage.at_rest()
            for what, loops in _WAYS.items():
                for system in scale.measured(*loops):
                    speed, redis = await _read(stage, f"{what}, {system}", scale.routed, *loops[system])
                    add_speed(sheet, PART, what, system, speed)
                    sheet.add(PART, f"{what}: CPU of Redis per 10,000", system, redis, "s")


async def _read(stage: Stage, group: str, count: int, loop: str, *more: int) -> tuple[Speed, float]:
    """Let a loop read the topic in a new group; return its speed, and the CPU seconds of Redis for 10,000 events."""
    before = stage.redis_cpu()
    done = await output_of("tests.bench.pullers", loop, stage.url, group, str(count), *map(str, more))
    redis = stage.redis_cpu() - before
    pending = await stage.redis.xpending(STREAM, group)
    assert pending["pending"] == 0, pending
    return Speed(count / done["seconds"], done["cpu"] / count * 10_000), redis / count * 10_000
