"""Whether the push subscriptions get their events: the way to each, and what keeps its lane."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.doctor.finding import Finding, ok, problem, warning
from relay.store.connect import describe
from relay.store.holds import Holds
from relay.store.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from relay.core.config import RelayConfig, Subscription

_PATIENCE = 5.0  # seconds for a connection
_PORTS = {"http": 80, "https": 443}


async def examine_destinations(subscriptions: Sequence[Subscription]) -> list[Finding]:
    """Whether each destination takes a connection (TLS included); nothing is sent."""
    return list(await asyncio.gather(*map(_reach, subscriptions)))


async def _reach(subscription: Subscription) -> Finding:
    url = urlsplit(subscription.url)
    area, where = f"subscription {subscription.name}", f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    began = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE):
            tls = True if url.scheme == "https" else None
            _, writer = await asyncio.open_connection(url.hostname, url.port or _PORTS[url.scheme], ssl=tls)
            writer.close()
    except (OSError, ValueError) as error:
        return problem(
            area, f"{where} cannot be reached: {describe(error)}", "look at its name, its port, its certificate"
        )
    return ok(area, f"{where} can be reached ({(time.monotonic() - began) * 1000:.0f} ms)")


async def examine_lanes(redis: Redis, config: RelayConfig) -> list[Finding]:
    """What keeps a lane from delivering, and what was given up."""
    holds = Holds(redis)
    pauses, trips, ledger = await holds.pauses(), await holds.trips(), await Ledger(redis).lanes()
    wanted = {one.name for one in config.subscriptions}
    findings = []
    for lane in ledger:
        area = f"subscription {lane.subscription}"
        if lane.subscription not in wanted:
            what = "it has left relay.toml, and what it is owed is kept"
            findings.append(warning(area, what, f"relay lanes drop {lane.subscription}, or put it back"))
        elif lane.subscription in pauses:
            why = pauses[lane.subscription].reason
            findings.append(warning(area, f"paused: {why}", f"relay lanes resume {lane.subscription}"))
        elif lane.subscription in trips:
            findings.append(problem(area, f"down: {trips[lane.subscription].reason}", "it is tried again by itself"))
        if lane.dead:
            findings.append(warning(area, f"{lane.dead} dead letters", "relay dead list, then replay or drop"))
        if not lane.balances:
            findings.append(problem(area, "its ledger does not balance", "relay ledger shows it; please report it"))
    return findings
