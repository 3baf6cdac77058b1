"""From a host to the addresses that `[egress]` allows the relay to connect to.

    host  ->  cache  ->  lookup (`relay.net.dns`), shared by all that wait for it  ->  egress policy  ->  addresses

Every connection is opened to an address from here and no name is resolved elsewhere, so a name that is resolved again
cannot lead to an address that was not checked. A lookup that fails while an older result is known leaves that in use
(RFC 8767), and each caller waits only as long as its own deadline allows.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Self

from relay.core.lazy_modules import LazyModule
from relay.core.net.addresses import address_of
from relay.core.net.lookups import TIMEOUT, AddressInfo, LookupFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relay.core.config.egress import Egress
    from relay.net import dns
else:
    dns = LazyModule("relay.net.dns")  # 3 % of the CPU time in which a worker starts

_FRESH = 30.0  # seconds that a result is used without another lookup
_RECHECK = 5.0  # the same for a negative answer, and for a stale result whose refresh has failed
_STALE = 3600.0  # seconds that a result is used while no server answers
_STALE_AFTER = 1.0  # seconds of waiting until a stale result is used
_PROBE_INTERVAL = 0.1  # seconds from one probe of the name servers to the next


class Refused(Exception):
    """`[egress]` allows no address of a host; the message has the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"refused: {reason}")


@dataclass(slots=True)
class _Entry:
    """The last result for a host."""

    lookup: asyncio.Task[None] | None = None
    addresses: list[AddressInfo] | None = None
    failure: LookupFailed | None = None
    fresh_until: float = 0.0
    """Time of the loop's clock, as below."""
    stale_until: float = 0.0


class Resolver:
    """Resolves hosts with one lookup at a time for each. Enter it as a context: lookups end when it is left."""

    def __init__(self, client: dns.Dns | None = None) -> None:
        """Ask `client`; None for the name servers of this machine."""
        self._dns = client
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, _Entry] = {}
        self._probes: set[asyncio.Task[None]] = set()
        self._probed_at = self._alive_at = float(
            "-inf"
        )  # times of the last probe's start and of the last answer to one

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        lookups = [entry.lookup for entry in self._entries.values() if entry.lookup]
        pending = [*lookups, *self._probes]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        if self._dns is not None:
            await self._dns.aclose()

    async def resolve(self, host: str, port: int, within: float) -> list[AddressInfo]:
        """Return the addresses of `host`, allowed or not, within `within` seconds.

        Raises:
            LookupFailed: it cannot be resolved, or not in time.
        """
        if ":" in host:
            return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]
        if address_of(host):
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
        entry = self._entries.get(host) or self._add(host)
        if self._loop.time() >= entry.fresh_until:
            await self._refresh(host, entry, within)
        if entry.addresses is None:
            raise entry.failure or LookupFailed("the lookup was cancelled", is_final=False, is_ours=True)
        return [(*info, (address[0], port, *address[2:])) for *info, address in entry.addresses]  # type: ignore[misc]

    async def _opened(self) -> dns.Dns:
        """Return the client of the name servers, which is imported and made with the first name."""
        if self._dns is None:
            await asyncio.to_thread(import_module, dns.__name__)  # the loop runs meanwhile
        if self._dns is None:
            self._dns = dns.Dns()
        return self._dns

    def _add(self, host: str) -> _Entry:
        now = self._loop.time()
        for known, entry in list(self._entries.items()):
            if entry.lookup is None and now >= max(entry.fresh_until, entry.stale_until):
                del self._entries[known]
        self._entries[host] = _Entry()
        return self._entries[host]

    async def _refresh(self, host: str, entry: _Entry, within: float) -> None:
        """Wait for the lookup of `host`, for the whole time only if there is no stale result.

        Raises:
            LookupFailed: there is no result in time.
        """
        if entry.lookup is None:
            entry.lookup = self._loop.create_task(self._look_up(host, entry))
        lookup, first = entry.lookup, min(within / 2, _STALE_AFTER)
        if await _is_done(lookup, first):
            return
        if entry.addresses is not None and self._loop.time() < entry.stale_until:
            return
        began = self._loop.time()
        if began >= self._probed_at + _PROBE_INTERVAL:
            self._probed_at = began
            probe = self._loop.create_task(self._probe())
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)
        if not await _is_done(lookup, within - first):
            is_ours = self._alive_at < began - _PROBE_INTERVAL
            raise LookupFailed("the name server does not answer", is_final=False, is_ours=is_ours)

    async def _probe(self) -> None:
        """Find out whether it is one name that gets no answer, or every name."""
        if await (await self._opened()).is_alive():
            self._alive_at = self._loop.time()

    async def _look_up(self, host: str, entry: _Entry) -> None:
        """Ask for the addresses of `host` and keep the result."""
        try:
            addresses = await (await self._opened()).lookup(host, 0)
        except LookupFailed as error:
            now = self._loop.time()
            if error.is_final or now >= entry.stale_until:
                entry.addresses = None
            entry.failure = error
            is_kept = error.is_final or entry.addresses is not None
            entry.fresh_until = now + _RECHECK if is_kept else 0.0
        else:
            now = self._loop.time()
            entry.addresses, entry.failure = addresses, None
            entry.fresh_until, entry.stale_until = now + _FRESH, now + _STALE
        finally:
            entry.lookup = None


async def _is_done(task: asyncio.Task[None], within: float) -> bool:
    """Wait for `task`, which others may wait for too; return True if it has ended in time."""
    done, _ = await asyncio.wait({task}, timeout=max(within, 0.0))
    if done and not task.cancelled():
        task.result()
    return bool(done)


async def resolve(host: str, port: int, within: float = TIMEOUT) -> list[AddressInfo]:
    """Return the addresses of `host`, allowed or not, without a cache.

    Raises:
        LookupFailed: it cannot be resolved, or not in time.
    """
    async with Resolver() as resolver:
        return await resolver.resolve(host, port, within)


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
