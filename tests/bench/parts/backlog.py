"""Cost of a backlog: the rate of routing and pushing the first events of a long backlog.

The floor is the rate with the shortest backlog of the same round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.parts.push import pushed
from tests.bench.parts.route import routed
from tests.bench.sheet import FLOOR, RELAY, add_speed

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

PART = "backlog"


async def measure(scale: Scale, sheet: Sheet) -> None:
    shortest, *longer = scale.backlogs
    for _ in range(scale.rounds):
        for backlog in longer or [shortest]:
            for system, waiting in ((FLOOR, shortest), (RELAY, backlog)):
                beside = f"{backlog:,} more waiting (floor: {shortest:,})"
                add_speed(sheet, PART, f"route, {beside}", system, await routed(50, scale.routed, waiting))
                add_speed(sheet, PART, f"push, {beside}", system, await pushed(1, scale.pushed, waiting))
