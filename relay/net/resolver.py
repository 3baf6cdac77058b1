"""Resolver: from a host to the addresses that `[egress]` allows.

Connections are opened only to addresses that this module returned, and the name is not resolved again in between, so
DNS cannot lead a connection to an unchecked address.
"""

from __future__ import annotations

import asyncio
import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from relay.core.addresses import address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.config.egress import Egress

_CACHE_TTL = 30.0  # seconds

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""Result of `socket.getaddrinfo`: family, type, protocol, canonical name, and the address to connect to."""


class Refused(Exception):
    """`[egress]` allows no address of a host; the message has the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused: {reason}")


class Resolver:
    """Caching resolver: at most one query per host in flight, results cached for 30 s."""

    def __init__(self, cache_ttl: float = _CACHE_TTL) -> None:
        """Keep each result for `cache_ttl` seconds."""
        self._cache_ttl = cache_ttl
        self._queries: dict[tuple[str, int], tuple[asyncio.Task[list[AddressInfo]], float]] = {}

    async def resolve(self, host: str, port: int) -> list[AddressInfo]:
        """Resolve `host`, allowed or not; the result may be up to 30 s old.

        Raises:
            OSError: it cannot be resolved.
        """
        now = asyncio.get_running_loop().time()
        if (host, port) not in self._queries or self._is_stale((host, port), now):
            for stale in [key for key in self._queries if self._is_stale(key, now)]:
                del self._queries[stale]
            self._queries[host, port] = asyncio.create_task(resolve(host, port)), now + self._cache_ttl
        query, _ = self._queries[host, port]
        return await asyncio.shield(query)  # other callers may await it too

    def _is_stale(self, key: tuple[str, int], now: float) -> bool:
        query, expires_at = self._queries[key]
        return query.done() and (now >= expires_at or query.cancelled() or query.exception() is not None)


async def resolve(host: str, port: int) -> list[AddressInfo]:
    """Resolve `host`, allowed or not.

    Raises:
        OSError: it cannot be resolved.
    """
    if ":" in host:
        return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]
    if address_of(host):
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    loop = asyncio.get_running_loop()
    return list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG))


def allowed(egress: Egress, host: str, found: Iterable[AddressInfo]) -> list[AddressInfo]:
    """Return the addresses `found` for `host` that are allowed.

    Raises:
        Refused: all of them are refused.
    """
    accepted: list[AddressInfo] = []
    refusal: Refused | None = None
    for address_info in found:
        try:
            check(egress, host, address_info[4][0])
        except Refused as error:
            refusal = refusal or error
        else:
            accepted.append(address_info)
    if refusal and not accepted:
        raise refusal
    return accepted


@lru_cache(maxsize=1024)
def check(egress: Egress, host: str, address: str) -> None:
    """Check that `host` may be connected to at `address`.

    Raises:
        Refused: it must not.
    """
    parsed = address_of(address)
    if parsed is None:
        raise Refused(f"{address} is not an address")
    if reason := egress.refusal(host, parsed):
        raise Refused(reason)
