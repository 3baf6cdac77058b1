"""From a host to the addresses that `[egress]` lets the relay connect to.

Whoever connects takes the addresses from here and asks no one else, so a name that is resolved anew cannot lead to an
address that was not looked at.
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

_KEPT = 30.0  # seconds

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""What `socket.getaddrinfo` gives: family, type, protocol, canonical name, and the address to connect to."""


class Refused(Exception):
    """The relay may not connect to any address of a host; says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"refused: {why}")


class Resolver:
    """Resolves hosts, one question at a time for each, and keeps the answers for half a minute."""

    def __init__(self, kept: float = _KEPT) -> None:
        """Keep each result for `kept` seconds."""
        self._kept = kept
        self._asked: dict[tuple[str, int], tuple[asyncio.Task[list[AddressInfo]], float]] = {}

    async def resolve(self, host: str, port: int) -> list[AddressInfo]:
        """The addresses of `host`, allowed or not; an answer may be up to 30 s old.

        Raises:
            OSError: it cannot be resolved.
        """
        now = asyncio.get_running_loop().time()
        if (host, port) not in self._asked or self._is_stale((host, port), now):
            for stale in [key for key in self._asked if self._is_stale(key, now)]:
                del self._asked[stale]
            self._asked[host, port] = asyncio.create_task(resolve(host, port)), now + self._kept
        question, _ = self._asked[host, port]
        return await asyncio.shield(question)  # others may wait for it, too

    def _is_stale(self, key: tuple[str, int], now: float) -> bool:
        question, until = self._asked[key]
        return question.done() and (now >= until or question.cancelled() or question.exception() is not None)


async def resolve(host: str, port: int) -> list[AddressInfo]:
    """The addresses of `host`, allowed or not.

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
    """Those of the addresses `found` for `host` that may be connected to.

    Raises:
        Refused: there are none but those that may not.
    """
    may_be: list[AddressInfo] = []
    refusal: Refused | None = None
    for one in found:
        try:
            check(egress, host, one[4][0])
        except Refused as error:
            refusal = refusal or error
        else:
            may_be.append(one)
    if refusal and not may_be:
        raise refusal
    return may_be


@lru_cache(maxsize=1024)
def check(egress: Egress, host: str, address: str) -> None:
    """Does nothing if `host` may be connected to at `address`.

    Raises:
        Refused: it may not.
    """
    parsed = address_of(address)
    if parsed is None:
        raise Refused(f"{address} is not an address")
    if why := egress.refusal(host, parsed):
        raise Refused(why)
