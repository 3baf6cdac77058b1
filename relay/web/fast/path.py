"""Fast path: handle ordinary webhooks and probes directly on the socket; everything else goes to aiohttp.

Nearly every webhook is the same: a POST to one of our paths, with a body of known length, one at a time on its
connection. `_Connection` waits for the head, parses it (`web.request_head`), waits for the body, gives both to the
`Ingress` and writes the response: 35 us of CPU an event, against 86 us through aiohttp. Bytes are parsed once: a next
request that arrives early stays in the buffer until the response to the previous one is written.

A probe is a GET of `/live` or `/ready`, and on an admin listener, which takes no webhooks, of `/metrics`.

A request of another kind (another path or method, chunks, a body over the limit, not HTTP) is handed over to aiohttp
together with all that has arrived behind it; aiohttp has the connection from then on (`web.handed_over`). Both ways
give the same response, and are bounded by the same limits (`web.connections`). The first of them waits until aiohttp is
imported, a few tenths of a second.

Shutdown: each response announces that the connection closes. Idle connections are kept for a moment, in which most
senders send a webhook and so learn of it, then they are closed; requests that have begun to arrive get their response.
"""

from __future__ import annotations

from email.utils import formatdate
from types import MappingProxyType
from typing import TYPE_CHECKING

from relay.process.timings import DEFAULTS
from relay.web.connections import Connections, Limits
from relay.web.fast.connection import FastConnection
from relay.web.ingress import DIALECTS
from relay.web.responses import ACCEPTED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from relay.net.front import Handover, Requests
    from relay.process.timings import Timings
    from relay.web.ingress import Ingress
    from relay.web.responses import Probe, Response

_DIALECTS = {path.encode(): dialect for path, dialect in DIALECTS.items()}


class FastPath:
    """The connections of a listener: a factory of protocols that knows which are open."""

    def __init__(  # noqa: PLR0913  what a listener is made of
        self,
        ingress: Ingress | None,
        clock: Callable[[], float],
        aiohttp: Handover,
        requests: Requests,
        limits: Limits | None = None,
        timings: Timings = DEFAULTS,
        *,
        probes: Mapping[str, Probe] = MappingProxyType({}),
    ) -> None:
        """`clock` returns Unix seconds; without `ingress` there are no webhooks; `probes` are by path."""
        self.dialects = {} if ingress is None else _DIALECTS
        self.aiohttp = aiohttp
        self.requests = requests
        self.probes = {path.encode(): probe for path, probe in probes.items()}
        self.connections = Connections(limits or Limits(), timings)
        self._drain_idle = timings.drain_idle
        self._clock = clock
        self._ingress = ingress
        self._second = -1
        self._date = ""
        self._accepted = b""

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return FastConnection(self)

    @property
    def ingress(self) -> Ingress:
        """The ingress of a listener that takes webhooks."""
        assert self._ingress is not None  # noqa: S101  without it there are no dialects
        return self._ingress

    async def drain(self, timeout: float) -> None:
        """Answer what arrives, closing each connection with its response, until none is open or for `timeout`."""
        idle = min(self._drain_idle, timeout)
        await self.connections.drained(idle)
        self.connections.close_idle()
        await self.connections.drained(timeout - idle)

    def close(self) -> None:
        """Close every open connection."""
        self.connections.close()

    def encode(self, response: Response, *, closing: bool, version: str = "1.1") -> bytes:
        """Return the bytes of `response`; those of the usual one are made once a second."""
        if (second := int(self._clock())) != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
            self._accepted = ACCEPTED.encode(self._date, closing=False)
        if response is ACCEPTED and not closing:
            return self._accepted
        return response.encode(self._date, closing=closing, version=version)
