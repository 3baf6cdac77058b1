"""The worker's HTTP sessions, one for each egress policy that is in use.

aiohttp keeps names that it resolved and connections that it opened. Both were looked at under one policy, so each
policy has a session of its own; when `[egress]` changes, nothing of the former session is used again, and it is closed
as soon as the last attempt under it has ended.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import aiohttp

from relay import __version__
from relay.core.addresses import address_of
from relay.resolving import CheckedResolver, check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from yarl import URL

    from relay.core.egress import Egress

_KEEP_ALIVE = 2.0  # seconds an idle connection is kept: less than servers keep theirs, or they close it under a POST
_DNS_CACHE = 30  # seconds


@dataclass(slots=True)
class _Shared:
    """A session and how many attempts are using it."""

    session: aiohttp.ClientSession
    users: int = 0


class Sessions:
    """Enter it as a context: its sessions are closed when it is left."""

    def __init__(self) -> None:
        self._open: dict[Egress, _Shared] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for egress in list(self._open):
            await self._close(egress)
        await asyncio.sleep(0)  # lets connections that were just used close

    @asynccontextmanager
    async def toward(self, url: URL, egress: Egress) -> AsyncIterator[aiohttp.ClientSession]:
        """The session for a request to `url`, which resolves its host as `egress` allows.

        Raises:
            Refused: the host is an address that may not be connected to; aiohttp does not resolve those.
        """
        host = url.raw_host or ""
        if ":" in host or address_of(host):
            check(egress, host, host)
        shared = self._open.get(egress) or self._opened(egress)
        shared.users += 1
        try:
            yield shared.session
        finally:
            shared.users -= 1
            if len(self._open) > 1:
                for other in [one for one in self._open if one != egress and not self._open[one].users]:
                    await self._close(other)

    def _opened(self, egress: Egress) -> _Shared:
        session = aiohttp.ClientSession(
            # Lanes bound their own concurrency, so the pool does not.
            connector=aiohttp.TCPConnector(
                limit=0, resolver=CheckedResolver(egress), ttl_dns_cache=_DNS_CACHE, keepalive_timeout=_KEEP_ALIVE
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"linq-relay/{__version__}"},
            skip_auto_headers=("Accept", "Accept-Encoding"),
            auto_decompress=False,
            trust_env=False,  # a proxy would resolve names itself
        )
        self._open[egress] = _Shared(session)
        return self._open[egress]

    async def _close(self, egress: Egress) -> None:
        await self._open.pop(egress).session.close()
