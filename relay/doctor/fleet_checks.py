"""Checks of the relay's processes: which of them an operator keeps from working, and whether they are of one build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.doctor.finding import Finding, warning
from relay.store.fleet.drain_orders import EVERY_HOST, drain_orders
from relay.store.fleet.processes import processes

if TYPE_CHECKING:
    from relay.store.driver.client import Redis

AREA = "processes"


async def examine_fleet(redis: Redis, now: float) -> list[Finding]:
    """Return a finding for each order to drain, and for processes of several builds; `now` is Unix seconds."""
    findings = []
    for order in await drain_orders(redis, now * 1000):
        who = "no worker takes work" if order.host == EVERY_HOST else f"{order.host} takes no work"
        findings.append(warning(AREA, f"{who}: drained {order.text.partition(', until')[0]}", order.end))
    builds = {f"{each.version} ({each.revision[:12]})" for each in await processes(redis, now * 1000)}
    if len(builds) > 1:
        what = f"processes of {len(builds)} builds run: {', '.join(sorted(builds))}"
        findings.append(warning(AREA, what, "finish the upgrade; relay drain --status lists the processes"))
    return findings
