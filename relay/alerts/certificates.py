"""The ends of the subscribers' certificates, kept in Redis and checked again every few hours.

A check opens a TLS connection as for a delivery, with the same authorities and egress rules, on which nothing is sent.
If a server cannot be reached, the last known end is kept.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, NamedTuple

from pydantic import TypeAdapter, ValidationError

from relay.net.resolver import Refused, allowed, resolve
from relay.net.target import Target
from relay.net.tls import context_for
from relay.store.driver.client import ask

if TYPE_CHECKING:
    from relay.config.file import Loaded
    from relay.core.config.endpoint import Endpoint
    from relay.store.driver.client import Redis

_INTERVAL = 6 * 3600.0
_TIMEOUT = 5.0
_MAX_LOOKS = 20  # of one run, at once


class Seen(NamedTuple):
    """The certificate that a server showed."""

    url: str
    looked_at: float
    """Time of the last look, Unix seconds."""
    end: float | None
    """Unix seconds; None if no look has succeeded."""


_SEEN = TypeAdapter(Seen)


async def ends(redis: Redis, loaded: Loaded, now: float) -> dict[str, float]:
    """Return the end of the certificate of each subscription, Unix seconds, after the looks that are due.

    Subscriptions without TLS, or whose certificate is not verified, and those never connected to are left out.
    """
    known = await _known(redis)
    verified = {
        each.name: each.url
        for each in loaded.config.subscriptions
        if each.url.lower().startswith("https:") and each.verify_tls
    }
    former = {name: known.get(name) for name in verified}
    seen = {name: entry for name, entry in former.items() if entry and entry.url == verified[name]}
    age = {name: now - seen[name].looked_at if name in seen else _INTERVAL for name in verified}
    due = sorted((name for name in verified if age[name] >= _INTERVAL), key=lambda name: -age[name])[:_MAX_LOOKS]
    found = await asyncio.gather(*(_look(verified[name], loaded.endpoints[name]) for name in due))
    for name, end in zip(due, found, strict=True):
        seen[name] = Seen(verified[name], now, end or (seen[name].end if name in seen else None))
    if due:
        rows = {name: _SEEN.dump_json(seen[name]) for name in due}
        await ask(redis.hset(redis.key.alerts_certificates, mapping=rows))
    if gone := known.keys() - verified.keys():
        await ask(redis.hdel(redis.key.alerts_certificates, *gone))
    return {name: entry.end for name, entry in seen.items() if entry.end}


async def _known(redis: Redis) -> dict[str, Seen]:
    known = {}
    for name, text in (await ask(redis.hgetall(redis.key.alerts_certificates))).items():
        try:
            known[name.decode()] = _SEEN.validate_json(text)
        except ValidationError:
            continue
    return known


async def _look(url: str, endpoint: Endpoint) -> float | None:
    """Return the end of the certificate of a server; None if it cannot be connected to."""
    try:
        target = Target.from_url(url)
        tls = context_for(endpoint)
        async with asyncio.timeout(_TIMEOUT):
            for *_, address in allowed(endpoint.egress, target.host, await resolve(target.host, target.port)):
                return await _end_at(address[0], target, tls)
    except (OSError, ValueError, Refused):
        pass
    return None


async def _end_at(address: str, target: Target, tls: ssl.SSLContext) -> float:
    _, writer = await asyncio.open_connection(address, target.port, ssl=tls, server_hostname=target.host.rstrip("."))
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    return float(ssl.cert_time_to_seconds(certificate["notAfter"]))
