"""From a host to the addresses that `[egress]` lets the relay connect to.

Whoever connects takes the addresses from here and asks no one else, so a name that is resolved anew cannot lead to an
address that was not looked at.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver

from relay.core.addresses import address_of

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

    from relay.core.egress import Egress


class Refused(aiohttp.ClientError):
    """The relay may not connect to any address of a host; says why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"refused: {why}")


class CheckedResolver(AbstractResolver):
    """Resolves hosts to what may be connected to."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be connected to.

        Raises:
            Refused: it has none but those that may not.
            OSError: it cannot be resolved.
        """
        allowed: list[ResolveResult] = []
        refusal: Refused | None = None
        for found in await self._resolver.resolve(host, port, family):
            try:
                check(self._egress, host, found["host"])
            except Refused as error:
                refusal = refusal or error
            else:
                allowed.append(found)
        if refusal and not allowed:
            raise refusal
        return allowed

    async def close(self) -> None:
        """Nothing is kept open."""
        await self._resolver.close()


@lru_cache(maxsize=1024)  # an address in a url is looked at before every attempt
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
