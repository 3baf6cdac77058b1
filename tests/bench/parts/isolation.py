"""Isolation: the effect of failing subscribers on the others.

Every event is routed to every lane. The lanes that are always healthy are measured while a tenth of all lanes hang or
refuse connections and, as the floor, while all are healthy, in turns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.bench.events import Order
from tests.bench.processes import load
from tests.bench.sheet import FLOOR, RELAY
from tests.bench.stage import new_stage, percentile, pushed_to, sink, stats_of
from tests.support import reserve_port

if TYPE_CHECKING:
    from tests.bench.scale import Scale
    from tests.bench.sheet import Sheet

PART = "isolation"
_DELIVERIES = 600.0  # a second, over all lanes
_LAST = 0.5  # seconds for the last deliveries
_RELOADED = 2.0  # seconds after which a changed relay.toml is surely loaded


async def measure(scale: Scale, sheet: Sheet) -> None:
    """Measure both; the sink tells the lanes apart by their path, and counts only those that are always healthy."""
    ill = scale.lanes // 10
    rate = max(_DELIVERIES / scale.lanes, 1)
    async with sink() as port:
        well = [f"http://127.0.0.1:{port}/{number}" for number in range(scale.lanes - ill)]
        refusing = reserve_port()
        dead = [
            f"http://127.0.0.1:{port}/hang/{number}" if number % 2 else f"http://127.0.0.1:{refusing}/{number}"
            for number in range(ill)
        ]
        cured = [f"http://127.0.0.1:{port}/cured/{number}" for number in range(ill)]
        healthy, suffering = pushed_to(*well, *cured), pushed_to(*well, *dead)
        async with new_stage(healthy) as stage, stage.ingress(), stage.worker():
            for number in range(scale.rounds):
                for system in scale.measured(FLOOR, RELAY):
                    stage.rules_file.write_text(healthy if system == FLOOR else suffering)
                    await asyncio.sleep(_RELOADED)
                    await stats_of(port)
                    seconds = scale.seconds * 2
                    order = Order(
                        stage.port, seconds + 1, max(round(rate * seconds), 1), f"{system}-{number}", rate=rate
                    )
                    await load(order)
                    await asyncio.sleep(_LAST)
                    late = (await stats_of(port))["late_ms"]
                    for share in (50, 99):
                        what = f"p{share} of the {len(well)} healthy lanes, {ill} others failing (floor: none)"
                        sheet.add(PART, what, system, percentile(late, share / 100), "ms")
            await stage.lanes()
