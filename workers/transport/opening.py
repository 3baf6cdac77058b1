"""Opening of a connection: to the first of a destination's addresses that accepts.

A single address, as most hosts have after the egress check, is connected to by the event loop itself. Several are tried
in the order and with the head starts of RFC 8305 by a library, whose socket the loop takes over: that takes 2.5 times
the CPU.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

from aiohappyeyeballs import pop_addr_infos_interleave, start_connection

from relay.core.durations import format_duration
from workers.transport.connection import DeadlineExceeded, NoResponse
from workers.transport.shortage import OurShortage, shortage_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.core.config.egress import Egress
    from relay.core.net.lookups import AddressInfo
    from workers.transport.connection import Connection

_HEAD_START = 0.25  # seconds until the next address is tried in parallel (RFC 8305, 5)


class Destination(NamedTuple):
    """The target of a connection."""

    host: str
    """A name in ASCII, or an address."""
    port: int
    tls: ssl.SSLContext | None
    """None for plain HTTP."""
    egress: Egress
    subscription: str
    """The only user of the connections."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


async def open_first(
    addresses: list[AddressInfo],
    destination: Destination,
    within: float,
    make: Callable[[], Connection],
    failures: list[OSError],
) -> tuple[asyncio.Transport, Connection]:
    """Connect to the first of `addresses` that accepts, with `within` seconds for each.

    A socket that could not be made is added to `failures`: if there are other errors too, the library names none.
    """
    loop = asyncio.get_running_loop()
    tls = destination.tls
    name = destination.host.rstrip(".") if tls else None

    def make_socket(info: AddressInfo) -> socket.socket:
        try:
            return socket.socket(*info[:3])
        except OSError as error:
            failures.append(error)
            raise

    while True:
        try:
            async with asyncio.timeout(within):
                if len(addresses) == 1:
                    host, port, *_ = addresses[0][4]
                    return await loop.create_connection(make, host, port, ssl=tls, server_hostname=name)
                sock = await start_connection(
                    addresses, happy_eyeballs_delay=_HEAD_START, interleave=1, socket_factory=make_socket
                )
                return await loop.create_connection(make, sock=sock, ssl=tls, server_hostname=name)
        except OSError:
            pop_addr_infos_interleave(addresses, 1)
            if not addresses:
                raise


def failure_of(error: OSError, failures: list[OSError], destination: Destination, within: float) -> Exception:
    """Return the error to raise when no connection could be opened."""
    if shortage := next(filter(None, map(shortage_in, (error, *failures))), None):
        return OurShortage(shortage)
    if isinstance(error, ssl.SSLCertVerificationError):
        return NoResponse(f"the subscriber's certificate was rejected: {error}")
    if isinstance(error, TimeoutError) and error.errno is None:
        return DeadlineExceeded(f"no connection within {format_duration(within)}")
    return NoResponse(f"no connection to {destination}: {error.strerror or error}")
