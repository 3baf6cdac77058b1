"""Pulling: `relay.consumer` reads a topic, beside a bare loop of XREADGROUP and XACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.floors import TOPIC
from tests.bench.sheet import FLOOR, RELAY, add_speed
from tests.bench.stage import new_stage, speed_of_floor
from tests.support import KEYS

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

PART = "pull"
_LOOPS = {RELAY: ("consume", "bench"), FLOOR: ("read", "floor")}


async def measure(scale: Scale, sheet: Sheet) -> None:
    for _ in range(scale.rounds):
        async with new_stage() as stage:
            await stage.fill_topic(scale.routed)
            for system in scale.measured(RELAY, FLOOR):
                loop, group = _LOOPS[system]
                speed = await speed_of_floor(loop, stage.embedded.url, scale.routed)
                add_speed(sheet, PART, "one consumer", system, speed)
                pending = await stage.redis.xpending(KEYS.topic(TOPIC), group)
                assert pending["pending"] == 0, pending
