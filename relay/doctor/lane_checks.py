"""Checks of the push subscriptions: can the endpoint be connected to, and what stops the lane from delivering."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.core.config.pairs.replies import double_reply_warnings
from relay.doctor.finding import Finding, State, ok, problem, warning
from relay.net.resolver import Refused, allowed, resolve
from relay.net.target import Target
from relay.net.tls import context_for
from relay.store.driver.client import describe
from relay.store.lanes.suspensions import Suspensions
from relay.store.ledger.ledger import Ledger
from relay.store.shadow_marks import shadows_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from relay.config.file import Loaded
    from relay.core.config.endpoint import Endpoint
    from relay.core.config.relay_toml import RelayConfig, Subscription
    from relay.core.delivery.circuit_breaker import OpenBreaker
    from relay.store.driver.client import Redis
    from relay.store.lanes.suspensions import Pause
    from relay.store.ledger.ledger import LaneLedger

_TIMEOUT = 5.0  # seconds for a connection
_REPLIES = "narrow `lines` of one of them, make it a shadow, or remove `replies` from the one that does not answer"


async def examine_destinations(loaded: Loaded) -> list[Finding]:
    """Connect to the endpoint of each subscription with the TLS and egress settings of a delivery; send nothing."""
    checks = (
        _examine_endpoint(subscription, loaded.endpoints[subscription.name])
        for subscription in loaded.config.subscriptions
    )
    findings = await asyncio.gather(*checks)
    shadows = {f"subscription {name}" for name in loaded.config.shadows}
    return [
        warning(each.area, f"a shadow: {each.what}", each.remedy)
        if each.area in shadows and each.state is State.PROBLEM
        else each
        for each in findings
    ]


async def _examine_endpoint(subscription: Subscription, endpoint: Endpoint) -> Finding:
    url = urlsplit(subscription.url)
    area, origin = f"subscription {subscription.name}", f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    began = time.monotonic()
    try:
        async with asyncio.timeout(_TIMEOUT):
            await _connect(Target.from_url(subscription.url), endpoint)
    except Refused as error:
        return problem(area, f"{origin} is {error}", "check its url, its DNS record, and [egress] in relay.toml")
    except (OSError, ValueError) as error:
        return problem(
            area,
            f"cannot connect to {origin}: {describe(error)}",
            "check that the endpoint is running, and the host, port and TLS certificate of its url",
        )
    connected = f"{origin} accepts connections ({(time.monotonic() - began) * 1000:.0f} ms)"
    if not endpoint.verify_tls:
        return warning(
            area,
            f"{connected}, but its certificate is not verified: another server could impersonate it",
            "in relay.toml, set ca_file instead of verify_tls = false",
        )
    return ok(area, connected)


async def _connect(target: Target, endpoint: Endpoint) -> None:
    """Connect to the first address that accepts, and close the connection."""
    host, port = target.host, target.port
    tls = context_for(endpoint) if target.is_https else None
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


async def examine_lanes(redis: Redis, config: RelayConfig, unusable: Collection[str] = ()) -> list[Finding]:
    """Return a finding for each paused, suspended or orphaned lane, for dead letters, and for a wrong ledger.

    `unusable` are the subscriptions made by the API that are not in force.
    """
    suspensions = Suspensions(redis)
    pauses, breakers = await suspensions.pauses(), await suspensions.open_breakers()
    configured = {subscription.name for subscription in config.subscriptions}
    shadows = await shadows_of(redis, config)
    findings = [warning("replies", what, _REPLIES) for what in double_reply_warnings(config)]
    for lane in await Ledger(redis).lanes():
        name = lane.subscription
        area = f"subscription {name}"
        if name in shadows:
            findings.append(
                _shadow(lane, shadows[name], pauses.get(name), breakers.get(name), is_configured=name in configured)
            )
        elif name not in configured and name not in unusable:
            what = "not in relay.toml any more; its undelivered events are kept"
            remedy = f"add {name} to relay.toml again; to give them up: relay subscriptions drop {name}"
            findings.append(warning(area, what, remedy))
        elif name in pauses:
            findings.append(warning(area, f"paused: {pauses[name].reason}", f"relay subscriptions resume {name}"))
        elif name in breakers:
            what = f"circuit breaker is open: {breakers[name].reason}"
            findings.append(problem(area, what, "fix the endpoint; the relay probes it and then resumes by itself"))
        if lane.dead and name not in shadows:
            what = f"{lane.dead} dead letter{'' if lane.dead == 1 else 's'}"
            remedy = f"relay dead list --subscription {name}, then relay dead replay or relay dead drop"
            findings.append(warning(area, what, remedy))
        if lane.fault:
            findings.append(problem(area, lane.fault, "relay subscriptions list shows how to repair it"))
        elif not lane.balances:
            what = "the ledger does not balance: an event was lost or counted twice"
            findings.append(problem(area, what, "please report this bug with the output of: relay ledger --json"))
    return findings


def _shadow(
    lane: LaneLedger, original: str, pause: Pause | None, breaker: OpenBreaker | None, *, is_configured: bool
) -> Finding:
    """Return the finding about a shadow: no outcome of it needs anything to be done."""
    area = f"subscription {lane.subscription}"
    if not is_configured:
        return ok(area, f"a removed shadow of {original}; its state is deleted within minutes")
    state = f"paused: {pause.reason}" if pause else f"circuit breaker is open: {breaker.reason}" if breaker else ""
    dead = f"{lane.dead} dead letter{'' if lane.dead == 1 else 's'}" if lane.dead else ""
    return ok(area, "; ".join(filter(None, (f"a shadow of {original}, which raises no alert", state, dead))))
