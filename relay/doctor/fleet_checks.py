"""Checks of the relay's processes: which of them an operator keeps from working, and whether all are alike.

They are of one build, and the ingresses have one dedupe window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.core.durations import format_duration
from relay.doctor.finding import Finding, warning
from relay.store.fleet.drain_orders import EVERY_HOST, drain_orders
from relay.store.fleet.processes import processes

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

AREA = "processes"


async def examine_fleet(redis: Redis, now: float) -> list[Finding]:
    """Return a finding for each order to drain, and for processes that differ; `now` is Unix seconds."""
    findings = []
    for order in await drain_orders(redis, now * 1000):
        who = "no worker takes work" if order.host == EVERY_HOST else f"{order.host} takes no work"
        findings.append(warning(AREA, f"{who}: drained {order.text.partition(', until')[0]}", order.end))
    running = await processes(redis, now * 1000)
    builds = {f"{each.version} ({each.revision[:12]})" for each in running}
    if len(builds) > 1:
        what = f"processes of {len(builds)} builds run: {', '.join(sorted(builds))}"
        findings.append(warning(AREA, what, "finish the upgrade; relay drain --status lists the processes"))
    windows = {each.dedupe_window_ms / 1000 for each in running if each.dedupe_window_ms is not None}
    if len(windows) > 1:
        what = f"RELAY_DEDUPE_WINDOW differs between the ingresses: {', '.join(map(format_duration, sorted(windows)))}"
        findings.append(warning(AREA, what, "set the same for each: a repeat is dropped for the shorter time only"))
    return findings
