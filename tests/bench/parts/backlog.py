"""Whether what waits behind costs anything: the rate of routing and pushing the first events of a long backlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.parts.push import pushed
from tests.bench.parts.route import routed
from tests.bench.sheet import OURS, add_speed

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

PART = "backlog"
_LONG = 500_000  # events whose making takes so long that one round has to do


async def measure(scale: Scale, sheet: Sheet) -> None:
    for number in range(scale.rounds):
        for backlog in scale.backlogs:
            if number and backlog >= _LONG:
                continue
            speed = await routed(50, scale.routed // 2, backlog)
            add_speed(sheet, PART, f"route, {backlog:,} more waiting", OURS, speed)
            speed = await pushed(1, scale.pushed // 2, backlog)
            add_speed(sheet, PART, f"push, {backlog:,} more waiting", OURS, speed)
