"""DNS questions without threads (aiodns, c-ares).

The system's `getaddrinfo` blocks a thread for as long as a name server is silent, and a process has few threads: some
names whose servers are silent would delay every other name. Here each question is independent and has its own deadline.
The hosts file and resolv.conf (servers, search domains, ndots) are honoured; other sources of nsswitch.conf are not.
"""

from __future__ import annotations

import asyncio
import socket
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import aiodns
import pycares

from relay.core.net.lookups import TIMEOUT, LookupFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.core.net.lookups import AddressInfo

_TRIES = 2
_UNKNOWN = {pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA, pycares.errno.ARES_EBADNAME}
_OURS = {
    *(pycares.errno.ARES_ECONNREFUSED, pycares.errno.ARES_EFILE, pycares.errno.ARES_ENOMEM),
    *(pycares.errno.ARES_ENOTINITIALIZED, pycares.errno.ARES_ESERVICE),
}


class Dns:
    """Asks the name servers of this machine, or those given. Made in the event loop that uses it."""

    def __init__(self, servers: Sequence[str] | None = None, timeout: float = TIMEOUT, **options: Any) -> None:
        self._timeout = timeout
        options = {"timeout": timeout / (2 * _TRIES), "tries": _TRIES, **options}
        self._resolver = aiodns.DNSResolver(nameservers=servers, **options)

    async def lookup(self, host: str, port: int) -> list[AddressInfo]:
        """Return the addresses of a name.

        Raises:
            LookupFailed: there are none, or no server said so in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._resolver.getaddrinfo(host, port=port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise await self._failure(pycares.errno.ARES_ETIMEOUT, "the name server does not answer") from None
        except aiodns.error.DNSError as error:
            raise await self._failure(error.args[0], str(error.args[-1])) from None
        return [_address(node, port) for node in found.nodes]

    async def aclose(self) -> None:
        """End every question."""
        await self._resolver.close()

    async def _failure(self, code: int, words: str) -> LookupFailed:
        is_ours = code in _OURS or (code == pycares.errno.ARES_ETIMEOUT and not await self.is_alive())
        return LookupFailed(words, is_final=code in _UNKNOWN, is_ours=is_ours)

    async def is_alive(self) -> bool:
        """Return True if a name server answers a question that every resolver can answer: a name below `invalid`.

        It is another name each time (RFC 6761, 6.4), since c-ares caches the answers to others.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._resolver.query_dns(f"{token_hex(6)}.invalid", "A")
        except TimeoutError:
            return False
        except aiodns.error.DNSError as error:
            return error.args[0] not in _OURS | {pycares.errno.ARES_ETIMEOUT}
        return True


def _address(node: Any, port: int) -> AddressInfo:
    address = tuple(part.decode() if isinstance(part, bytes) else part for part in node.addr)
    return node.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address[0], port, *address[2:])
