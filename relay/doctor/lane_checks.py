"""Whether the push subscriptions get their events: the way to each, and what keeps its lane."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.doctor.finding import Finding, ok, problem, warning
from relay.net.resolver import Refused, allowed, resolve
from relay.net.tls import context_for
from relay.store.driver.client import describe
from relay.store.lanes.ledger import Ledger
from relay.store.lanes.suspensions import Suspensions

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from redis.asyncio import Redis

    from relay.config.file import Loaded
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import RelayConfig, Subscription

_TIMEOUT = 5.0  # seconds for a connection
_PORTS = {"http": 80, "https": 443}


async def examine_destinations(loaded: Loaded) -> list[Finding]:
    """Whether each destination takes a connection, as a delivery would make it; nothing is sent."""
    subscriptions = loaded.config.subscriptions
    return list(await asyncio.gather(*(_reach(one, loaded.endpoints[one.name]) for one in subscriptions)))


async def _reach(subscription: Subscription, endpoint: Endpoint) -> Finding:
    url = urlsplit(subscription.url)
    area, where = f"subscription {subscription.name}", f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    began = time.monotonic()
    try:
        async with asyncio.timeout(_TIMEOUT):
            await _connect(url, endpoint)
    except Refused as error:
        return problem(area, f"{where} is {error}", "look at its url, at its DNS, at [egress] in relay.toml")
    except (OSError, ValueError) as error:
        return problem(
            area, f"{where} cannot be reached: {describe(error)}", "look at its name, its port, its certificate"
        )
    reached = f"{where} can be reached ({(time.monotonic() - began) * 1000:.0f} ms)"
    if not endpoint.verify_tls:
        return warning(area, f"{reached}, and anybody could pose as it", "give ca_file in place of verify_tls = false")
    return ok(area, reached)


async def _connect(url: SplitResult, endpoint: Endpoint) -> None:
    """Opens a connection to the first address that takes one, and closes it."""
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    tls = context_for(endpoint) if url.scheme == "https" else None
    addresses = allowed(endpoint.egress, host, await resolve(host, port))
    for position, (*_, address) in enumerate(addresses, start=1):
        try:
            name = host if tls else None
            _, writer = await asyncio.open_connection(address[0], port, ssl=tls, server_hostname=name)
        except OSError:
            if position == len(addresses):
                raise
        else:
            writer.close()
            return


async def examine_lanes(redis: Redis, config: RelayConfig) -> list[Finding]:
    """What keeps a lane from delivering, and what was given up."""
    holds = Suspensions(redis)
    pauses, trips, ledger = await holds.pauses(), await holds.open_breakers(), await Ledger(redis).lanes()
    wanted = {one.name for one in config.subscriptions}
    findings = []
    for lane in ledger:
        area = f"subscription {lane.subscription}"
        if lane.subscription not in wanted:
            what = "it has left relay.toml, and what it is owed is kept"
            findings.append(warning(area, what, f"relay subscriptions drop {lane.subscription}, or put it back"))
        elif lane.subscription in pauses:
            why = pauses[lane.subscription].reason
            findings.append(warning(area, f"paused: {why}", f"relay subscriptions resume {lane.subscription}"))
        elif lane.subscription in trips:
            findings.append(problem(area, f"down: {trips[lane.subscription].reason}", "it is tried again by itself"))
        if lane.dead:
            findings.append(warning(area, f"{lane.dead} dead letters", "relay dead list, then replay or drop"))
        if not lane.balances:
            findings.append(problem(area, "its ledger does not balance", "relay ledger shows it; please report it"))
    return findings
